{{/*
The dashboard, composed of rows: [title, PromQL, legend, unit, kind, what is said beside it]. {S} in a query is the selector, for the
variables of the dashboard. Two panels stand beside each other.
*/}}
{{- define "wshealthd.impl.panels" -}}
- [Ready instances, 'sum(wshealthd_ready{S})', ready, none, stat, How many instances take new connections.]
- [Instances, 'count(wshealthd_ready{S})', all, none, stat, How many agents are asked.]
- [Not ready, '1 - wshealthd_ready{S}', '{{ `{{pod}}` }}', none, timeseries, 1 while /ready says 503.]
- [Cause, 'wshealthd_diagnosis{S} == 1', '{{ `{{pod}} {{cause}}` }}', none, timeseries, What the diagnosis over all checks says.]
- [State of the checks, 'wshealthd_check_state{S}', '{{ `{{pod}} {{check}}` }}', none, timeseries, '1 pass, 0.5 warn, 0 fail.']
- [State of the brokers, 'wshealthd_broker_state{S}', '{{ `{{pod}} {{broker}}` }}', none, timeseries, '1 pass, 0.5 warn, 0 fail: shared by all instances, so they stay in rotation.']
- [Failures by reason, 'sum by (check, reason) (rate(wshealthd_check_failures_total{S}[5m]) > 0)', '{{ `{{check}} {{reason}}` }}', ops, timeseries, Rounds that failed or were void.]
- [Rounds, 'sum by (check, result) (rate(wshealthd_check_rounds_total{S}[5m]))', '{{ `{{check}} {{result}}` }}', ops, timeseries, Rounds by result.]
- [Duration of a round (p95), 'histogram_quantile(0.95, sum by (le, check) (rate(wshealthd_check_duration_seconds_bucket{S,phase="total"}[5m])))', '{{ `{{check}}` }}', s, timeseries, 'The whole round, connecting included.']
- [Round trip (p95), 'histogram_quantile(0.95, sum by (le, check) (rate(wshealthd_check_rtt_seconds_bucket{S}[5m])))', '{{ `{{check}}` }}', s, timeseries, A message or ping on an open connection.]
- [Delivery through the broker (p95), 'histogram_quantile(0.95, sum by (le, leg) (rate(wshealthd_delivery_seconds_bucket{S}[5m])))', '{{ `{{leg}}` }}', s, timeseries, 'control: the agent''s own subscription; websocket: through this server.']
- [Heartbeats, 'sum by (result) (rate(wshealthd_delivery_heartbeats_total{S}[5m]))', '{{ `{{result}}` }}', ops, timeseries, 'Lost ones were published, and never arrived over the WebSocket.']
- [Connections to the server, 'wshealthd_server_connections{S,state="established"}', '{{ `{{pod}}` }}', none, timeseries, 'Of clients, where a check of type server is configured.']
- [Connections that the server ended, 'sum by (code) (rate(wshealthd_connection_closes_total{S}[5m]))', '{{ `{{code}}` }}', ops, timeseries, Of the agent, by close code.]
- [Days until the certificate expires, '(wshealthd_tls_cert_not_after_timestamp_seconds{S} - time()) / 86400', '{{ `{{pod}} {{check}}` }}', none, timeseries, The first certificate of the chain.]
- [Agent memory, 'process_resident_memory_bytes{S}', '{{ `{{pod}}` }}', bytes, timeseries, Of the agent itself.]
{{- end }}

{{- define "wshealthd.impl.dashboard" -}}
{{- $source := dict "type" "prometheus" "uid" "${datasource}" -}}
{{- $panels := list -}}
{{- range $number, $row := include "wshealthd.impl.panels" . | fromYamlArray -}}
{{- $query := index $row 1 | replace "{S}" "{namespace=~\"$namespace\",job=~\"$job\"}" | replace "{S," "{namespace=~\"$namespace\",job=~\"$job\"," -}}
{{- $panel := dict "id" (add1 $number) "title" (index $row 0) "type" (index $row 4) "description" (index $row 5) "datasource" $source
    "gridPos" (dict "h" 7 "w" 12 "x" (mul 12 (mod $number 2)) "y" (mul 7 (div $number 2)))
    "targets" (list (dict "refId" "A" "datasource" $source "expr" $query "legendFormat" (index $row 2)))
    "fieldConfig" (dict "defaults" (dict "unit" (index $row 3) "min" 0) "overrides" list) "options" dict -}}
{{- $panels = append $panels $panel -}}
{{- end -}}
{{- $variables := list (dict "name" "datasource" "type" "datasource" "query" "prometheus")
    (dict "name" "namespace" "type" "query" "datasource" $source "query" "label_values(wshealthd_ready, namespace)" "refresh" 2 "includeAll" true "multi" true)
    (dict "name" "job" "type" "query" "datasource" $source "query" "label_values(wshealthd_ready{namespace=~\"$namespace\"}, job)" "refresh" 2 "includeAll" true "multi" true) -}}
{{- dict "uid" "wshealthd" "title" "WebSocket health (wshealthd)" "tags" (list "wshealthd" "websocket") "schemaVersion" 39 "editable" true "refresh" "30s"
    "time" (dict "from" "now-3h" "to" "now") "templating" (dict "list" $variables) "panels" $panels | toPrettyJson -}}
{{- end }}

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
    {{- include "wshealthd.impl.dashboard" . | nindent 4 }}
{{- end }}
