{{- define "chat.redisUrl" -}}
{{ if .Values.redis.enabled }}redis://{{ .Release.Name }}-redis:6379{{ else }}{{ required "redis.url is missing" .Values.redis.url }}{{ end }}
{{- end }}
