{{/* The name of the Deployment, of what belongs to it, and of its Lease. */}}
{{- define "keeper.name" -}}
{{ .Release.Name }}-operator
{{- end }}

{{/* What selects the operator's pods. */}}
{{- define "keeper.selector" -}}
app.kubernetes.io/name: pgbackrest-keeper
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The labels of an object of this component: (list $ "operator"). */}}
{{- define "keeper.labels" -}}
app.kubernetes.io/name: pgbackrest-keeper
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/part-of: pgbackrest-keeper
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
{{- end }}

{{/* The rules of deploy/base and deploy/overlays/observe. Storage classes belong to no namespace. */}}
{{- define "keeper.rules" -}}
{{- $file := ternary "files/observe-role.yaml" "files/cluster-role.yaml" (eq .Values.mode "observe") -}}
{{- range (.Files.Get $file | fromYaml).rules }}
{{- if not (and $.Values.namespaces (has "storage.k8s.io" .apiGroups)) }}
{{ list . | toYaml }}
{{- end }}
{{- end }}
{{- end }}

{{/* A binding's end: the operator's account. */}}
{{- define "keeper.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "keeper.name" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}
