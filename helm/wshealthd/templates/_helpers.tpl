{{/* The dictionary that the library's templates take, with the values of this chart. */}}
{{- define "watcher.of" -}}
{{- include .call (dict "root" .root "v" .root.Values "name" (include "watcher.name" .root) "keys" "") -}}
{{- end }}

{{- define "watcher.name" -}}
{{ include "wshealthd.impl.prefix" . }}
{{- end }}

{{- define "watcher.metadata" -}}
name: {{ include "watcher.name" . }}
labels: {{- include "watcher.of" (dict "root" . "call" "wshealthd.impl.metadataLabels") | nindent 2 }}
{{- end }}

{{- define "watcher.selector" -}}
{{ include "watcher.of" (dict "root" . "call" "wshealthd.impl.labels") | fromYaml | toJson }}
{{- end }}
