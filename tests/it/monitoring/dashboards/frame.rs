//! What is around the panels: variables, annotations, links and the grid (classic JSON, schema version 39).

use serde_json::{Value, json};

use super::model::{Panel, WIDTH, source};

/// Grafana 10.4 and later migrate it by themselves; the newer form needs 12.
const SCHEMA_VERSION: u32 = 39;

pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) query: String,
    pub(crate) multi: bool,
}

impl Variable {
    fn json(&self) -> Value {
        json!({
            // `.*` and not `.+`: exporters on plain hosts have no label namespace.
            "allValue": ".*", "current": {"selected": true, "text": "All", "value": "$__all"},
            "datasource": source(), "definition": self.query, "hide": 0, "includeAll": true, "label": self.label,
            "multi": self.multi, "name": self.name, "options": [],
            "query": {"query": self.query, "refId": "variable"}, "refresh": 2, "regex": "", "skipUrlSync": false,
            "sort": 1, "type": "query",
        })
    }
}

/// What marks instants in all panels.
pub(crate) struct Annotation {
    pub(crate) name: &'static str,
    pub(crate) colour: &'static str,
    pub(crate) expr: String,
    pub(crate) title: &'static str,
    /// The value is the instant, in milliseconds.
    pub(crate) at_value: bool,
}

impl Annotation {
    fn json(&self) -> Value {
        json!({
            "datasource": source(), "enable": true, "expr": self.expr, "hide": false, "iconColor": self.colour, "name": self.name,
            "titleFormat": self.title, "useValueForTime": self.at_value,
        })
    }
}

pub(crate) struct Dashboard {
    /// Of the file, without `.json`.
    pub(crate) file: &'static str,
    pub(crate) uid: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) from: &'static str,
    pub(crate) variables: Vec<Variable>,
    pub(crate) annotations: Vec<Annotation>,
    /// Titles of rows, and what is in them.
    pub(crate) rows: Vec<(&'static str, Vec<Panel>)>,
}

impl Dashboard {
    pub(crate) fn json(&self) -> Value {
        let mut panels = Vec::new();
        let (mut id, mut y) = (1, 0);
        for (title, row) in &self.rows {
            panels.push(json!({
                "id": id, "type": "row", "title": title, "collapsed": false, "panels": [],
                "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
            }));
            (id, y) = (id + 1, y + 1);
            let (mut x, mut height) = (0, 0);
            for panel in row {
                if x + panel.size.0 > WIDTH {
                    (x, y, height) = (0, y + height, 0);
                }
                panels.push(panel.json(id, x, y));
                (id, x, height) = (id + 1, x + panel.size.0, height.max(panel.size.1));
            }
            y += height;
        }
        let mut variables = vec![json!({
            "current": {}, "hide": 0, "includeAll": false, "label": "Data source", "multi": false, "name": "datasource",
            "options": [], "query": "prometheus", "refresh": 1, "regex": "", "skipUrlSync": false, "type": "datasource",
        })];
        variables.extend(self.variables.iter().map(Variable::json));
        let annotations: Vec<Value> = self.annotations.iter().map(Annotation::json).collect();
        json!({
            "uid": self.uid, "title": self.title, "description": self.description, "tags": ["pgbackrest"],
            "schemaVersion": SCHEMA_VERSION, "editable": false, "graphTooltip": 1, "timezone": "browser",
            "refresh": "1m", "time": {"from": self.from, "to": "now"},
            "links": [{
                "asDropdown": true, "icon": "external link", "includeVars": true, "keepTime": true, "tags": ["pgbackrest"],
                "targetBlank": false, "title": "pgBackRest", "type": "dashboards",
            }],
            "templating": {"list": variables}, "annotations": {"list": annotations}, "panels": panels,
        })
    }
}
