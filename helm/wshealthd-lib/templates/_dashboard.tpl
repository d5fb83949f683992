{{/* The dashboard of monitoring/dashboard.json, in a ConfigMap for Grafana's sidecar. */}}
{{- define "wshealthd.impl.dashboardConfigMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}-dashboard
  labels:
    {{- include "wshealthd.impl.metadataLabels" . | nindent 4 }}
    {{- with .v.dashboard.labels }}{{ toYaml . | nindent 4 }}{{ end }}
data:
  wshealthd.json: |
    {{- include "wshealthd.impl.monitoring" (dict "root" .root "file" "dashboard.json") | nindent 4 }}
{{- end }}
