//! Panels and their JSON in Grafana.

use serde_json::{Value, json};

/// How many columns Grafana's grid has.
pub(crate) const WIDTH: u32 = 24;
/// What a panel shows where Prometheus has nothing. Never a number, and never green.
const UNKNOWN: &str = "unknown";

/// A threshold: from this value on, this colour.
pub(crate) type Step = (f64, &'static str);

/// 0 is good, anything above is not.
pub(crate) const NONE_IS_GOOD: &[Step] = &[(0.0, "green"), (1.0, "red")];
/// For numbers without good or bad.
pub(crate) const PLAIN: &[Step] = &[];

#[derive(Clone)]
pub(crate) struct Panel {
    title: &'static str,
    description: &'static str,
    kind: &'static str,
    unit: &'static str,
    pub(crate) size: (u32, u32),
    steps: &'static [Step],
    mappings: Vec<Value>,
    custom: Value,
    options: Value,
    min: Option<f64>,
    targets: Vec<Value>,
    columns: Vec<Column>,
    sort: Option<&'static str>,
}

/// A column of a table: a query's value, or a label.
#[derive(Clone)]
pub(crate) struct Column {
    /// The label, or `Value #A` and so on.
    field: String,
    name: &'static str,
    unit: Option<&'static str>,
    steps: &'static [Step],
    mappings: Vec<Value>,
    link: Option<String>,
}

pub(crate) fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// Texts and colours for values.
pub(crate) fn says(texts: &[(&str, &str, &str)]) -> Vec<Value> {
    let options: serde_json::Map<String, Value> = texts
        .iter()
        .enumerate()
        .map(|(index, (value, text, colour))| {
            ((*value).to_owned(), json!({"color": colour, "index": index, "text": text}))
        })
        .collect();
    vec![json!({"type": "value", "options": options})]
}

/// Texts and colours for ranges of values.
pub(crate) fn ranges(texts: &[(f64, f64, &str, &str)]) -> Vec<Value> {
    let range = |(index, (from, to, text, colour)): (usize, &(f64, f64, &str, &str))| {
        let result = json!({"color": colour, "index": index, "text": text});
        json!({"type": "range", "options": {"from": from, "to": to, "result": result}})
    };
    texts.iter().enumerate().map(range).collect()
}

/// The mapping that keeps what is not known from looking like a number or like something good.
fn unknown() -> Value {
    json!({"type": "special", "options": {"match": "null+nan", "result": {"color": "orange", "index": 99, "text": UNKNOWN}}})
}

fn thresholds(steps: &[Step]) -> Value {
    // The base is what a missing value gets. It is no colour of health.
    let base = if steps.is_empty() { "text" } else { "orange" };
    let mut all = vec![json!({"color": base, "value": null})];
    all.extend(steps.iter().map(|(value, colour)| json!({"color": colour, "value": value})));
    json!({"mode": "absolute", "steps": all})
}

fn reference(index: usize) -> String {
    char::from(b'A' + u8::try_from(index).unwrap()).to_string()
}

impl Panel {
    fn new(kind: &'static str, title: &'static str, description: &'static str, unit: &'static str) -> Self {
        Self {
            title,
            description,
            kind,
            unit,
            size: (12, 8),
            steps: PLAIN,
            mappings: Vec::new(),
            custom: json!({}),
            options: json!({}),
            min: None,
            targets: Vec::new(),
            columns: Vec::new(),
            sort: None,
        }
    }

    /// One number of now.
    pub(crate) fn stat(
        title: &'static str,
        description: &'static str,
        unit: &'static str,
        expr: String,
    ) -> Self {
        let mut panel = Self::new("stat", title, description, unit);
        panel.size = (4, 4);
        panel.options = json!({
            "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}, "textMode": "value",
        });
        panel.instant(expr)
    }

    /// Lines over time.
    pub(crate) fn lines(title: &'static str, description: &'static str, unit: &'static str) -> Self {
        let mut panel = Self::new("timeseries", title, description, unit);
        panel.custom = json!({"drawStyle": "line", "fillOpacity": 0, "lineWidth": 2, "showPoints": "never", "spanNulls": false});
        panel.options = json!({
            "legend": {"calcs": ["lastNotNull"], "displayMode": "table", "placement": "right", "showLegend": true},
            "tooltip": {"mode": "multi", "sort": "desc"},
        });
        panel.min = Some(0.0);
        panel
    }

    /// Bars, the longest of now first.
    pub(crate) fn bars(title: &'static str, description: &'static str, unit: &'static str) -> Self {
        let mut panel = Self::new("bargauge", title, description, unit);
        panel.options = json!({
            "displayMode": "basic", "orientation": "horizontal", "showUnfilled": true,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
        });
        panel.min = Some(0.0);
        panel
    }

    /// States over time.
    pub(crate) fn states(title: &'static str, description: &'static str, mappings: Vec<Value>) -> Self {
        let mut panel = Self::new("state-timeline", title, description, "none");
        panel.mappings = mappings;
        panel.custom = json!({"fillOpacity": 80, "lineWidth": 0});
        panel.options = json!({
            "alignValue": "left", "mergeValues": true, "rowHeight": 0.85, "showValue": "never",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
            "tooltip": {"mode": "single", "sort": "none"},
        });
        panel
    }

    pub(crate) fn table(title: &'static str, description: &'static str) -> Self {
        let mut panel = Self::new("table", title, description, "none");
        panel.size = (WIDTH, 9);
        panel.custom =
            json!({"align": "auto", "cellOptions": {"type": "auto"}, "inspect": false, "minWidth": 90});
        panel
    }

    pub(crate) fn size(mut self, width: u32, height: u32) -> Self {
        self.size = (width, height);
        self
    }

    pub(crate) fn steps(mut self, steps: &'static [Step]) -> Self {
        self.steps = steps;
        self
    }

    pub(crate) fn maps(mut self, mappings: Vec<Value>) -> Self {
        self.mappings = mappings;
        self
    }

    /// Draws the thresholds into a time series.
    pub(crate) fn limits(mut self, steps: &'static [Step]) -> Self {
        self.custom["thresholdsStyle"] = json!({"mode": "dashed"});
        self.steps(steps)
    }

    pub(crate) fn stacked(mut self) -> Self {
        self.custom["stacking"] = json!({"group": "A", "mode": "normal"});
        self.custom["fillOpacity"] = json!(40);
        self
    }

    fn instant(mut self, expr: String) -> Self {
        let (id, expr) = (reference(self.targets.len()), Value::String(expr));
        let format = if self.kind == "table" { "table" } else { "time_series" };
        self.targets.push(json!({
            "datasource": source(), "expr": expr, "format": format, "instant": true, "legendFormat": "__auto",
            "range": false, "refId": id,
        }));
        self
    }

    /// A query of now with a legend, for bars.
    pub(crate) fn now(mut self, expr: String, legend: &str) -> Self {
        self = self.instant(expr);
        self.targets.last_mut().unwrap()["legendFormat"] = json!(legend);
        self
    }

    /// A query over the time that is shown.
    pub(crate) fn query(mut self, expr: String, legend: &str) -> Self {
        let expr = Value::String(expr);
        self.targets.push(json!({
            "datasource": source(), "expr": expr, "format": "time_series", "instant": false, "legendFormat": legend,
            "range": true, "refId": reference(self.targets.len()),
        }));
        self
    }

    /// A column for a label.
    pub(crate) fn label(mut self, label: &str, name: &'static str) -> Self {
        self.columns.push(Column::new(label.to_owned(), name));
        self
    }

    /// Columns that tell one repository from others.
    pub(crate) fn labels_of_repo(self) -> Self {
        self.label("pg_cluster", "Cluster")
            .label("host", "Host")
            .label("stanza", "Stanza")
            .label("repo_key", "Repository")
    }

    /// A column for the value of a query.
    pub(crate) fn value(mut self, name: &'static str, unit: &'static str, expr: String) -> Self {
        let id = reference(self.targets.len());
        self = self.instant(expr);
        let mut column = Column::new(format!("Value #{id}"), name);
        column.unit = Some(unit);
        self.columns.push(column);
        self
    }

    fn last(&mut self) -> &mut Column {
        self.columns.last_mut().unwrap()
    }

    /// Colours the last column.
    pub(crate) fn coloured(mut self, steps: &'static [Step]) -> Self {
        self.last().steps = steps;
        self
    }

    /// Texts for the last column.
    pub(crate) fn spelt(mut self, mappings: Vec<Value>) -> Self {
        self.last().mappings = mappings;
        self
    }

    /// A link from the last column.
    pub(crate) fn linked(mut self, url: String) -> Self {
        self.last().link = Some(url);
        self
    }

    /// Descending by this column.
    pub(crate) fn worst(mut self, name: &'static str) -> Self {
        self.sort = Some(name);
        self
    }

    pub(crate) fn json(&self, id: u32, x: u32, y: u32) -> Value {
        let mut mappings = self.mappings.clone();
        mappings.push(unknown());
        let mut defaults = json!({
            "color": {"mode": if self.kind == "timeseries" { "palette-classic" } else { "thresholds" }},
            "custom": self.custom, "mappings": mappings, "noValue": UNKNOWN, "thresholds": thresholds(self.steps),
            "unit": self.unit,
        });
        if self.kind == "bargauge" && self.steps.is_empty() {
            defaults["color"] = json!({"fixedColor": "blue", "mode": "fixed"});
        }
        if let Some(min) = self.min {
            defaults["min"] = json!(min);
        }
        let mut options = self.options.clone();
        let mut transformations = Vec::new();
        // One query alone gives a column that is just called so.
        let alone = self.targets.len() == 1;
        if self.kind == "table" {
            options = json!({"cellHeight": "sm", "showHeader": true});
            if let Some(sort) = self.sort {
                options["sortBy"] = json!([{"desc": true, "displayName": sort}]);
            }
            let field = |column: &Column| {
                if alone && column.field == "Value #A" { "Value".to_owned() } else { column.field.clone() }
            };
            let index: serde_json::Map<String, Value> = self
                .columns
                .iter()
                .enumerate()
                .map(|(index, column)| (field(column), json!(index)))
                .collect();
            let names: serde_json::Map<String, Value> =
                self.columns.iter().map(|column| (field(column), json!(column.name))).collect();
            transformations = vec![
                json!({"id": "merge", "options": {}}),
                json!({"id": "organize", "options": {"excludeByName": {"Time": true}, "indexByName": index, "renameByName": names}}),
            ];
        }
        json!({
            "id": id, "type": self.kind, "title": self.title, "description": self.description, "datasource": source(),
            "gridPos": {"h": self.size.1, "w": self.size.0, "x": x, "y": y},
            "fieldConfig": {"defaults": defaults, "overrides": self.columns.iter().filter_map(Column::json).collect::<Vec<_>>()},
            "options": options, "targets": self.targets, "transformations": transformations,
        })
    }
}

impl Column {
    fn new(field: String, name: &'static str) -> Self {
        Self { field, name, unit: None, steps: PLAIN, mappings: Vec::new(), link: None }
    }

    /// What differs from the other columns.
    fn json(&self) -> Option<Value> {
        let mut properties = Vec::new();
        let mut set = |id: &str, value: Value| properties.push(json!({"id": id, "value": value}));
        if let Some(unit) = self.unit {
            set("unit", json!(unit));
        } else {
            // A label that is absent is no missing value; and links take what is shown.
            set("mappings", json!([]));
            set("noValue", json!(""));
        }
        if !self.steps.is_empty() || !self.mappings.is_empty() {
            let mut mappings = self.mappings.clone();
            mappings.push(unknown());
            set("mappings", json!(mappings));
            set("thresholds", thresholds(self.steps));
            set("custom.cellOptions", json!({"type": "color-text"}));
        }
        if let Some(url) = &self.link {
            set("links", json!([{"title": "Show this cluster", "url": url}]));
        }
        (!properties.is_empty())
            .then(|| json!({"matcher": {"id": "byName", "options": self.name}, "properties": properties}))
    }
}
