// Package types names what the definitions are made of, so that its version is pinned.
package types

import _ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
