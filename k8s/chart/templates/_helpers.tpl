{{- define "cdc-daemon.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains "cdc-daemon" .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-cdc-daemon" .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "cdc-daemon.metadata" -}}
{{- $ := .root -}}
name: {{ .name | default (include "cdc-daemon.fullname" $) }}
namespace: {{ $.Release.Namespace }}
labels:
  app.kubernetes.io/name: cdc-daemon
  app.kubernetes.io/instance: {{ $.Release.Name }}
  app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
  {{- with merge (dict) (.labels | default dict) $.Values.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $.Values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Operators set app.kubernetes.io/instance on their pods, so a sidecar's pod is found by one label alone. */ -}}
{{- define "cdc-daemon.selector" -}}
cdc-daemon: {{ .Values.mode }}
{{- if eq .Values.mode "poller" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- end -}}

{{- define "cdc-daemon.configMapName" -}}
{{ .Values.existingConfigMap | default (include "cdc-daemon.fullname" .) }}
{{- end -}}

{{- define "cdc-daemon.image" -}}
{{ .Values.image.repository }}
{{- with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end -}}

{{- /* The configuration: defaults, then the values' config, then what other values decide. */ -}}
{{- define "cdc-daemon.config" -}}
{{- $run := "/run/secrets/cdc-daemon" -}}
{{- $search := ternary "search" "elasticsearch" (hasKey .Values.config "search") -}}
{{- $defaults := dict "log" (dict "format" "json") "http" (dict "host" "0.0.0.0") -}}
{{- with .Values.secrets.cassandra }}{{ if .name }}
{{- $_ := set $defaults "cassandra" (dict "username_file" (printf "%s/cassandra-username" $run) "password_file" (printf "%s/cassandra-password" $run)) -}}
{{- end }}{{ end }}
{{- $engine := dict -}}
{{- with .Values.secrets.elasticsearch }}{{ if .name }}
{{- if .apiKey }}{{ $_ := set $engine "api_key_file" (printf "%s/elasticsearch-api-key" $run) }}{{ end }}
{{- if .username }}{{ $_ := set $engine "username_file" (printf "%s/elasticsearch-username" $run) }}{{ end }}
{{- if .password }}{{ $_ := set $engine "password_file" (printf "%s/elasticsearch-password" $run) }}{{ end }}
{{- if .ca }}{{ $_ := set $engine "ca_file" (printf "%s/elasticsearch-ca.pem" $run) }}{{ end }}
{{- end }}{{ end }}
{{- if $engine }}{{ $_ := set $defaults $search $engine }}{{ end }}
{{- if .Values.secrets.tokens.name }}
{{- $_ := set $defaults.http "auth" (dict "tokens" (list (dict "name" "sync" "file" (printf "%s/sync-token" $run)) (dict "name" "operator" "file" (printf "%s/operator-token" $run) "scopes" (list "sync" "admin")))) -}}
{{- end }}
{{- $owned := dict "state" (dict "directory" "/var/lib/cdc-daemon") "http" (dict "port" (int .Values.http.port) "health_port" (int .Values.http.healthPort)) -}}
{{- if .Values.tls.secret }}
{{- $_ := set $defaults.http "tls" (dict "certificate_file" (printf "%s/http-certificate.pem" $run) "key_file" (printf "%s/http-key.pem" $run)) -}}
{{- end }}
{{- if .Values.peers.enabled }}
{{- $peers := dict "port" (int .Values.peers.port) -}}
{{- if .Values.secrets.tokens.name }}{{ $_ := set $defaults "peers" (dict "token_file" (printf "%s/operator-token" $run)) }}{{ end }}
{{- if eq .Values.mode "poller" }}{{ $_ := set $peers "addresses" (list (printf "%s-peers" (include "cdc-daemon.fullname" .))) }}{{ end }}
{{- if or (eq .Values.mode "sidecar") (gt (int .Values.replicas) 1) }}{{ $_ := set $owned "peers" $peers }}{{ else }}{{ $_ := unset $defaults "peers" }}{{ end }}
{{- end }}
{{- if eq .Values.mode "sidecar" }}
{{- $_ := set $defaults "commit_log" (dict "ownership" "primary") -}}
{{- $defaults = mergeOverwrite $defaults (dict "cassandra" (dict "contact_points" (list "${POD_IP}" "${CASSANDRA_SERVICE}"))) -}}
{{- $_ := set $owned "commit_log" (dict "cdc_raw_directory" .Values.cdcRaw.mountPath "cdc_total_space" .Values.cdcRaw.totalSpace) -}}
{{- else }}
{{- $_ := set $owned "tail" false -}}
{{- end }}
{{- toYaml (mergeOverwrite $defaults (deepCopy .Values.config) $owned) }}
{{- end -}}

{{- define "cdc-daemon.container" -}}
name: cdc-daemon
image: {{ include "cdc-daemon.image" . | quote }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- if eq .Values.mode "sidecar" }}
restartPolicy: Always
{{- end }}
args: [run, --config, /etc/cdc-daemon/config.yaml, --wait-for-config, --health-port, {{ .Values.http.healthPort | toString | quote }}]
env:
  {{- if eq .Values.mode "sidecar" }}
  - name: POD_IP
    valueFrom: {fieldRef: {fieldPath: status.podIP}}
  - name: CASSANDRA_SERVICE
    value: {{ .Values.sidecar.cassandraService | quote }}
  {{- end }}
  - name: PYTHONPATH
    value: /etc/cdc-daemon
  - name: CDC_DAEMON_WATCH_CONFIG
    value: {{ .Values.watchConfig | quote }}
  {{- if .Values.tls.secret }}
  - name: CDC_DAEMON_CA_FILE
    value: /run/secrets/cdc-daemon/http-ca.pem
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - {name: cdc-http, containerPort: {{ .Values.http.port }}}
  - {name: cdc-health, containerPort: {{ .Values.http.healthPort }}}
livenessProbe:
  {{- toYaml .Values.livenessProbe | nindent 2 }}
{{- if and (eq .Values.mode "poller") .Values.readinessProbe }}
readinessProbe:
  {{- toYaml .Values.readinessProbe | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  {{- if eq .Values.mode "sidecar" }}
  - {name: {{ .Values.cdcRaw.claim }}, mountPath: {{ .Values.cdcRaw.mountPath }}, subPath: {{ .Values.cdcRaw.subPath }}}
  - {name: {{ .Values.cdcRaw.claim }}, mountPath: /var/lib/cdc-daemon, subPath: {{ .Values.state.subPath }}}
  {{- else }}
  - {name: state, mountPath: /var/lib/cdc-daemon}
  {{- end }}
  - {name: cdc-daemon-config, mountPath: /etc/cdc-daemon, readOnly: true}
  - {name: cdc-daemon-secrets, mountPath: /run/secrets/cdc-daemon, readOnly: true}
  - {name: cdc-daemon-tmp, mountPath: /tmp}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "cdc-daemon.volumes" -}}
- name: cdc-daemon-config
  configMap:
    name: {{ include "cdc-daemon.configMapName" . }}
    optional: true
- name: cdc-daemon-secrets
  projected:
    defaultMode: 0440
    {{- $sources := list }}
    {{- with .Values.secrets.cassandra }}{{ if .name }}
    {{- $sources = append $sources (dict "name" .name "optional" true "items" (list (dict "key" .username "path" "cassandra-username") (dict "key" .password "path" "cassandra-password"))) }}
    {{- end }}{{ end }}
    {{- with .Values.secrets.elasticsearch }}{{ if .name }}
    {{- $items := list }}
    {{- if .apiKey }}{{ $items = append $items (dict "key" .apiKey "path" "elasticsearch-api-key") }}{{ end }}
    {{- if .username }}{{ $items = append $items (dict "key" .username "path" "elasticsearch-username") }}{{ end }}
    {{- if .password }}{{ $items = append $items (dict "key" .password "path" "elasticsearch-password") }}{{ end }}
    {{- if .ca }}{{ $items = append $items (dict "key" .ca "path" "elasticsearch-ca.pem") }}{{ end }}
    {{- if $items }}{{ $sources = append $sources (dict "name" .name "optional" true "items" $items) }}{{ end }}
    {{- end }}{{ end }}
    {{- with .Values.secrets.tokens }}{{ if .name }}
    {{- $sources = append $sources (dict "name" .name "optional" true "items" (list (dict "key" .sync "path" "sync-token") (dict "key" .operator "path" "operator-token"))) }}
    {{- end }}{{ end }}
    {{- with .Values.tls.secret }}
    {{- $sources = append $sources (dict "name" . "optional" true "items" (list (dict "key" "tls.crt" "path" "http-certificate.pem") (dict "key" "tls.key" "path" "http-key.pem") (dict "key" "ca.crt" "path" "http-ca.pem"))) }}
    {{- end }}
    {{- if $sources }}
    sources:
      {{- range $sources }}
      - secret:
          {{- toYaml . | nindent 10 }}
      {{- end }}
    {{- else }}
    sources: []
    {{- end }}
- name: cdc-daemon-tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cdc-daemon.podLabels" -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.podLabels) (include "cdc-daemon.selector" . | fromYaml)) -}}
{{- end -}}
