{{/* The text of wshealthd.yaml: the configuration in the values, and what belongs to the chart. */}}
{{- define "wshealthd.impl.config" -}}
{{- $config := deepCopy (.v.config | default dict) -}}
{{- if not (dig "target" "url" "" $config) }}{{ fail (printf "%sconfig.target.url is missing: say where the WebSocket is, such as ws://127.0.0.1:8080/ws" .keys) }}{{ end -}}
{{- $_ := set $config "listen" (printf "[::]:%d" (int .v.port)) -}}
{{- $_ := set $config "admin" "unix:/run/wshealthd/admin.sock" -}}
{{- if (.v.drain | default dict).enabled }}{{ $_ := set $config "prestop" true }}{{ end -}}
{{ toYaml $config }}
{{- end }}

{{- define "wshealthd.impl.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}
  labels: {{- include "wshealthd.impl.metadataLabels" . | nindent 4 }}
data:
  wshealthd.yaml: |
    {{- include "wshealthd.impl.config" . | nindent 4 }}
{{- end }}

{{/* A configuration that changes rolls the pods: those that the agent refuses it in never become ready, and the old ones stay. */}}
{{- define "wshealthd.impl.checksum" -}}
checksum/wshealthd: {{ include "wshealthd.impl.config" . | sha256sum }}
{{- end }}

{{- define "wshealthd.impl.volumes" -}}
- name: wshealthd
  projected:
    sources:
      - configMap: { name: {{ .name }} }
      {{- range $file, $from := .v.files }}
      {{- $key := required (printf "%sfiles.%s.key is missing" $.keys $file) $from.key }}
      {{- $source := default "configMap" (ternary "secret" "" (hasKey $from "secret")) }}
      - {{ $source }}:
          name: {{ required (printf "%sfiles.%s needs secret or configMap" $.keys $file) (default $from.configMap $from.secret) }}
          items: [{ key: {{ $key | quote }}, path: {{ printf "files/%s" $file | quote }} }]
      {{- end }}
- name: wshealthd-run
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
{{- end }}
