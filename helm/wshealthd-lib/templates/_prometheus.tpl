{{- define "wshealthd.impl.podMonitor" -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ .name }}
  labels:
    {{- include "wshealthd.impl.metadataLabels" . | nindent 4 }}
    {{- with .v.podMonitor.labels }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  selector: { matchLabels: {{ include "wshealthd.impl.labels" . | fromYaml | toJson }} }
  podMetricsEndpoints:
    - port: wshealthd
      path: /metrics
      interval: {{ .v.podMonitor.interval }}
{{- end }}

{{/* Whose series are meant: those of this release's monitor. A PodMonitor's job is namespace/name, a ServiceMonitor's the Service. */}}
{{- define "wshealthd.impl.selector" -}}
namespace="{{ .root.Release.Namespace }}",job=~"({{ .root.Release.Namespace }}/)?{{ .name }}"
{{- end }}

{{/*
The alerts. A symptom that users see is critical, what will become one a warning. A draining instance alerts nobody. `for` outlives a
roll-out and the restart of one pod.
*/}}
{{- define "wshealthd.impl.alerts" -}}
{{- $s := include "wshealthd.impl.selector" . -}}
- alert: WshealthdMostInstancesNotReady
  expr: |
    avg by (namespace, job) (wshealthd_ready{{ "{" }}{{ $s }}} unless wshealthd_draining{{ "{" }}{{ $s }}} == 1) < 0.5
  for: 1m
  labels: { severity: critical }
  annotations:
    summary: Most WebSocket servers of {{ `{{ $labels.job }}` }} take no new connections
    description: {{ `Only {{ $value | humanizePercentage }} of the instances are ready. wshealthd_diagnosis says the cause, and "wshealthd status" in an agent's container what to do.` | quote }}
- alert: WshealthdNotReady
  expr: |
    wshealthd_ready{{ "{" }}{{ $s }}} == 0 unless wshealthd_draining{{ "{" }}{{ $s }}} == 1
  for: 3m
  labels: { severity: warning }
  annotations:
    summary: {{ `{{ $labels.pod }} takes no new WebSocket connections` | quote }}
    description: {{ `It has been out of rotation for 3 minutes. "wshealthd status" in its sidecar shows every check, the cause and what to do.` | quote }}
- alert: WshealthdNotLive
  expr: wshealthd_live{{ "{" }}{{ $s }}} == 0
  for: 1m
  labels: { severity: critical }
  annotations:
    summary: {{ `The WebSocket server of {{ $labels.pod }} hangs: nothing has answered for longer than liveness.after` | quote }}
    description: {{ `Unless its livenessProbe asks /live, nobody restarts it. Take a stack dump first: it shows what it waits for.` | quote }}
- alert: WshealthdBrokerDown
  expr: wshealthd_broker_state{{ "{" }}{{ $s }}} == 0
  for: 2m
  labels: { severity: critical }
  annotations:
    summary: {{ `{{ $labels.pod }} has no working connection to its broker {{ $labels.broker }} ({{ $labels.type }})` | quote }}
    description: {{ `Instances stay in rotation, degraded, as the fault is none of theirs. Messages between instances are not delivered meanwhile.` | quote }}
- alert: WshealthdDeliveryBroken
  expr: wshealthd_check_state{{ "{" }}{{ $s }},type="delivery"} == 0
  for: 2m
  labels: { severity: critical }
  annotations:
    summary: {{ `What is published does not reach the clients of {{ $labels.pod }} (check {{ $labels.check }})` | quote }}
    description: {{ `Its clients are connected and hear nothing. wshealthd_diagnosis says whether this server or the broker has lost it.` | quote }}
- alert: WshealthdDegraded
  expr: wshealthd_degraded{{ "{" }}{{ $s }}} == 1
  for: 15m
  labels: { severity: warning }
  annotations:
    summary: {{ `{{ $labels.pod }} has been degraded for 15 minutes` | quote }}
    description: {{ `It is in rotation, with a warning or with a fault that all instances share. "wshealthd status" says which.` | quote }}
- alert: WshealthdFlapping
  expr: changes(wshealthd_ready{{ "{" }}{{ $s }}}[30m]) > 6
  labels: { severity: warning }
  annotations:
    summary: {{ `{{ $labels.pod }} goes in and out of rotation` | quote }}
    description: {{ `{{ $value }} changes in 30 minutes. Raise "fall" of the check that fails now and then, or find out why it does: wshealthd_check_failures_total has the reasons.` | quote }}
- alert: WshealthdCertificateExpires
  expr: wshealthd_tls_cert_not_after_timestamp_seconds{{ "{" }}{{ $s }}} - time() < 14 * 86400
  for: 1h
  labels: { severity: warning }
  annotations:
    summary: {{ `The certificate that check {{ $labels.check }} of {{ $labels.pod }} sees expires in {{ $value | humanizeDuration }}` | quote }}
    description: Renew it, and look at what should have renewed it.
- alert: WshealthdAgentDown
  expr: up{{ "{" }}{{ $s }}} == 0
  for: 5m
  labels: { severity: warning }
  annotations:
    summary: {{ `Nobody watches the WebSocket server of {{ $labels.pod }}: its agent gives no metrics` | quote }}
    description: {{ `A container that does not run also takes its pod out of rotation. "kubectl logs -c wshealthd" says why it ended.` | quote }}
- alert: WshealthdAgentBlind
  expr: |
    time() - max by (namespace, job, pod, check) (wshealthd_check_last_round_timestamp_seconds{{ "{" }}{{ $s }}}) > 900
  for: 5m
  labels: { severity: warning }
  annotations:
    summary: {{ `Check {{ $labels.check }} of {{ $labels.pod }} has not ended a round for {{ $value | humanizeDuration }}` | quote }}
    description: {{ `Its verdict is that of its last round. A target that refuses the probe is asked less often, but at least once a minute.` | quote }}
- alert: WshealthdAgentStarved
  expr: increase(wshealthd_stalls_total{{ "{" }}{{ $s }}}[15m]) > 5
  for: 15m
  labels: { severity: warning }
  annotations:
    summary: {{ `The agent of {{ $labels.pod }} is starved of CPU` | quote }}
    description: {{ `Rounds that fail while it is late are void, so it judges less. Raise its CPU request, or look at the node.` | quote }}
{{- end }}

{{- define "wshealthd.impl.prometheusRule" -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ .name }}
  labels:
    {{- include "wshealthd.impl.metadataLabels" . | nindent 4 }}
    {{- with .v.prometheusRule.labels }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  groups:
    - name: {{ .name }}
      rules:
        {{- $wanted := list }}
        {{- range include "wshealthd.impl.alerts" . | fromYamlArray }}
        {{- if not (has .alert $.v.prometheusRule.disabled) }}{{ $wanted = append $wanted . }}{{ end }}
        {{- end }}
        {{- toYaml $wanted | nindent 8 }}
{{- end }}
