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

{{/*
A file of monitoring/, which this library has beside its templates (a link to the source's top level; a package has the files themselves).
`.Files` of a chart are its own: those of the library are reached through the chart that depends on it, under its name or its alias.
*/}}
{{- define "wshealthd.impl.monitoring" -}}
{{- $library := index .root.Subcharts "wshealthd-lib" | default (index .root.Subcharts "wshealthd") -}}
{{- $text := $library.Files.Get (printf "monitoring/%s" .file) -}}
{{- if not $text }}{{ fail (printf "wshealthd-lib has no monitoring/%s: its folder was copied without what its link leads to" .file) }}{{ end -}}
{{- $text | trimSuffix "\n" -}}
{{- end }}

{{/* Whose series are meant: those of this release's monitor. A PodMonitor's job is namespace/name, a ServiceMonitor's the Service. */}}
{{- define "wshealthd.impl.selector" -}}
namespace="{{ .root.Release.Namespace }}",job=~"({{ .root.Release.Namespace }}/)?{{ .name }}"
{{- end }}

{{/* An expression of monitoring/, narrowed to the series that are meant. */}}
{{- define "wshealthd.impl.narrow" -}}
{{- $named := regexReplaceAll "(^|[^:\\w])(wshealthd_\\w+|up\\b)" .expr "${1}${2}{SELECTOR}" | replace "{SELECTOR}{" "{SELECTOR," | replace ",job=~\".*wshealthd.*\"" "" -}}
{{- $named | replace "SELECTOR" (include "wshealthd.impl.selector" .) -}}
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
    {{- $groups := list }}
    {{- range $file := list "alerts.yaml" "rules.yaml" }}
    {{- range $group := (include "wshealthd.impl.monitoring" (dict "root" $.root "file" $file) | fromYaml).groups }}
    {{- $rules := list }}
    {{- range $rule := $group.rules }}
    {{- if not (has ($rule.alert | default "") $.v.prometheusRule.disabled) }}
    {{- $rule = set $rule "expr" (include "wshealthd.impl.narrow" (dict "root" $.root "name" $.name "expr" $rule.expr)) }}
    {{- if and $rule.alert $.v.prometheusRule.runbookUrl }}
    {{- $_ := set $rule.annotations "runbook_url" (printf "%s/%s" (trimSuffix "/" $.v.prometheusRule.runbookUrl) (trimPrefix "docs/" $rule.annotations.runbook)) }}
    {{- end }}
    {{- $rules = append $rules $rule }}
    {{- end }}
    {{- end }}
    {{- $groups = append $groups (dict "name" (printf "%s-%s" $.name (trimPrefix "wshealthd-" $group.name)) "rules" $rules) }}
    {{- end }}
    {{- end }}
    {{- toYaml $groups | nindent 4 }}
{{- end }}
