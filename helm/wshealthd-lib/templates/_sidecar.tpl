{{/* What another chart includes. Each takes the root context. */}}

{{- define "wshealthd.impl.of" -}}
{{/* Runs the template .call with the dictionary of the root context .root. */}}
{{- $v := include "wshealthd.impl.context" .root | fromYaml -}}
{{- include .call (dict "root" .root "v" $v "name" (include "wshealthd.name" .root) "keys" "wshealthd.") -}}
{{- end }}

{{/* Line 1, in the pod's annotations. */}}
{{- define "wshealthd.podAnnotations" -}}
{{ include "wshealthd.impl.of" (dict "root" . "call" "wshealthd.impl.checksum") }}
{{- end }}

{{/* Line 2, in the pod's spec, where it has no initContainers and volumes of its own; else use the three that follow. */}}
{{- define "wshealthd.podSpec" -}}
{{ include "wshealthd.terminationGracePeriodSeconds" . }}
{{- with include "wshealthd.initContainers" . }}
initContainers: {{- . | nindent 2 }}
{{- end }}
volumes: {{- include "wshealthd.volumes" . | nindent 2 }}
{{- end }}

{{/* How long the pod may take to end: the drain, then the server's own end, and a little for the kubelet. */}}
{{- define "wshealthd.terminationGracePeriodSeconds" -}}
{{- $v := include "wshealthd.impl.context" . | fromYaml -}}
terminationGracePeriodSeconds: {{ if $v.drain.enabled }}{{ add (int $v.drain.seconds) (int $v.drain.stopSeconds) 5 }}{{ else }}{{ add (int $v.drain.stopSeconds) 5 }}{{ end }}
{{- end }}

{{/* Items of initContainers: the native sidecar, or nothing. Put it behind init containers that must have run before it. */}}
{{- define "wshealthd.initContainers" -}}
{{- if include "wshealthd.native" . -}}
{{ include "wshealthd.impl.of" (dict "root" . "call" "wshealthd.impl.sidecar") }}
  restartPolicy: Always
{{- end }}
{{- end }}

{{/* Items of volumes. */}}
{{- define "wshealthd.volumes" -}}
{{ include "wshealthd.impl.of" (dict "root" . "call" "wshealthd.impl.volumes") }}
{{- end }}

{{/*
Line 3, as an item of containers: the plain container before 1.29, or nothing. Such a container gets its SIGTERM together with the server's,
so it has the same preStop: the agent stays as long as the drain.
*/}}
{{- define "wshealthd.containers" -}}
{{- if not (include "wshealthd.native" .) -}}
{{- $v := include "wshealthd.impl.context" . | fromYaml -}}
{{ include "wshealthd.impl.of" (dict "root" . "call" "wshealthd.impl.sidecar") }}
{{- if $v.drain.enabled }}
  lifecycle: {{- include "wshealthd.impl.preStop" (dict "v" $v) | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Line 4, in the server's container: the hook that holds its SIGTERM back until the clients have left, and the probes where they are enabled.
A preStop of the sidecar would hold nobody back: only the server's own does.
*/}}
{{- define "wshealthd.server" -}}
{{ include "wshealthd.impl.server" . | trim }}
{{- end }}

{{- define "wshealthd.impl.server" -}}
{{- $v := include "wshealthd.impl.context" . | fromYaml -}}
{{- if $v.drain.enabled }}
lifecycle: {{- include "wshealthd.impl.preStop" (dict "v" $v) | nindent 2 }}
{{- end }}
{{- with $v.server.liveness }}{{ if .enabled }}
{{- $restart := include "wshealthd.impl.restartSeconds" (dict "v" $v) | int -}}
{{- if le (mul (int .periodSeconds) (int .failureThreshold)) $restart }}
{{- fail (printf "wshealthd.server.liveness: periodSeconds * failureThreshold must be more than the %d s that it takes to restart an agent that hangs: it would take a healthy server with it" $restart) }}
{{- end }}
livenessProbe:
  httpGet: { path: /live, port: {{ int $v.port }} }
  periodSeconds: {{ int .periodSeconds }}
  timeoutSeconds: {{ int .timeoutSeconds }}
  failureThreshold: {{ int .failureThreshold }}
  terminationGracePeriodSeconds: {{ int .terminationGracePeriodSeconds }}
{{- end }}{{ end }}
{{- with $v.server.startup }}{{ if .enabled }}
startupProbe:
  httpGet: { path: /startup, port: {{ int $v.port }} }
  periodSeconds: {{ int .periodSeconds }}
  failureThreshold: {{ int .failureThreshold }}
{{- end }}{{ end }}
{{- end }}

{{/* Line 5, a file of its own: the ConfigMap, and the objects for Prometheus and Grafana that are enabled. */}}
{{- define "wshealthd.manifests" -}}
{{- $v := include "wshealthd.impl.context" . | fromYaml -}}
{{- $with := dict "root" . "v" $v "name" (include "wshealthd.name" .) "keys" "wshealthd." -}}
{{ include "wshealthd.impl.configMap" $with }}
{{- if $v.podMonitor.enabled }}
---
{{ include "wshealthd.impl.podMonitor" $with }}
{{- end }}
{{- if $v.prometheusRule.enabled }}
---
{{ include "wshealthd.impl.prometheusRule" $with }}
{{- end }}
{{- if $v.dashboard.enabled }}
---
{{ include "wshealthd.impl.dashboardConfigMap" $with }}
{{- end }}
{{- end }}
