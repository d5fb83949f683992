{{/* The agent's container, without its probes and hooks. */}}
{{- define "wshealthd.impl.container" -}}
{{- $tag := default (include "wshealthd.version" .) .v.image.tag -}}
name: wshealthd
image: {{ if .v.image.digest }}{{ printf "%s@%s" .v.image.repository .v.image.digest | quote }}{{ else }}{{ printf "%s:%s" .v.image.repository $tag | quote }}{{ end }}
imagePullPolicy: {{ .v.image.pullPolicy }}
command: [wshealthd, run, -c, /etc/wshealthd/wshealthd.yaml]
{{- with .v.env }}
env: {{- tpl (toYaml .) $.root | nindent 2 }}
{{- end }}
ports:
  - { name: wshealthd, containerPort: {{ int .v.port }} }
livenessProbe:
  httpGet: { path: /healthz, port: {{ int .v.port }} }
  periodSeconds: {{ int .v.liveness.periodSeconds }}
  timeoutSeconds: {{ int .v.liveness.timeoutSeconds }}
  failureThreshold: {{ int .v.liveness.failureThreshold }}
  # A loop that does not turn does not see SIGTERM either. Without this the kubelet would wait for the pod's whole grace period.
  terminationGracePeriodSeconds: 2
resources: {{- toYaml .v.resources | nindent 2 }}
securityContext: {{- toYaml .v.securityContext | nindent 2 }}
volumeMounts:
  - { name: wshealthd, mountPath: /etc/wshealthd, readOnly: true }
  - { name: wshealthd-run, mountPath: /run/wshealthd }
{{- end }}

{{/* How long it takes at most until an agent that hangs has been killed: its liveness probe, and the grace that it gives. */}}
{{- define "wshealthd.impl.restartSeconds" -}}
{{ add (mul (int .v.liveness.periodSeconds) (int .v.liveness.failureThreshold)) (int .v.liveness.timeoutSeconds) 2 }}
{{- end }}

{{/*
A 503 comes at once; only an agent that says nothing makes the kubelet wait for timeoutSeconds. So that is what tells the two apart: with
stayInRotation the probe waits longer than the agent's liveness probe takes to restart it.
*/}}
{{- define "wshealthd.impl.readinessProbe" -}}
httpGet: { path: /ready, port: {{ int .v.port }} }
periodSeconds: {{ int .v.readiness.periodSeconds }}
timeoutSeconds: {{ if eq .v.onAgentFailure "stayInRotation" }}{{ include "wshealthd.impl.restartSeconds" . | int | add 8 }}{{ else }}1{{ end }}
failureThreshold: {{ int .v.readiness.failureThreshold }}
{{- end }}

{{/* The agent's port as a number: a name would be looked up among the ports of the server's own container, and the hook would fail. */}}
{{- define "wshealthd.impl.preStop" -}}
preStop:
  httpGet: { path: "/prestop?timeout={{ int .v.drain.seconds }}s&min={{ int .v.drain.minSeconds }}s", port: {{ int .v.port }} }
{{- end }}

{{/* One item of initContainers or containers. */}}
{{- define "wshealthd.impl.sidecar" -}}
- {{ include "wshealthd.impl.container" . | nindent 2 | trim }}
{{- if .v.readiness.enabled }}
  readinessProbe: {{- include "wshealthd.impl.readinessProbe" . | nindent 4 }}
{{- end }}
{{- end }}
