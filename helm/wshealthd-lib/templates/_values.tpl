{{/*
What the other files share. Templates called wshealthd.* are for other charts and take the root context; those called wshealthd.impl.* take
a dictionary with `root` (the root context), `v` (the values of this library) and `name` (the prefix of the objects), so that the chart
wshealthd can use them with values of its own.
*/}}

{{/* The version whose image is taken without a tag. */}}
{{- define "wshealthd.version" -}}
0.1.0
{{- end }}

{{/* The dictionary, as YAML. */}}
{{- define "wshealthd.impl.context" -}}
{{- $v := index .Values "wshealthd" | default (index .Values "wshealthd-lib") -}}
{{- if not $v }}{{ fail "no values of wshealthd: give the dependency wshealthd-lib `alias: wshealthd` in Chart.yaml" }}{{ end -}}
{{- toYaml $v -}}
{{- end }}

{{/* As Helm's own starter names things: the release, and the chart unless the release's name says it. */}}
{{- define "wshealthd.impl.prefix" -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $chart .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $chart | trunc 50 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{/* The name of the ConfigMap, the monitors and the rest. */}}
{{- define "wshealthd.name" -}}
{{ include "wshealthd.impl.prefix" . }}-wshealthd
{{- end }}

{{- define "wshealthd.impl.labels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "wshealthd.impl.metadataLabels" -}}
{{ include "wshealthd.impl.labels" . }}
app.kubernetes.io/component: wshealthd
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* true for a native sidecar, else nothing. */}}
{{- define "wshealthd.native" -}}
{{- $v := include "wshealthd.impl.context" . | fromYaml -}}
{{- if eq (toString $v.native) "auto" }}{{ if semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version }}true{{ end }}
{{- else if eq (toString $v.native) "true" }}true{{ end -}}
{{- end }}
