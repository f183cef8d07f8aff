// Writes what `tsc` then checks: the parts of each dashboard as constants of the types that @grafana/schema publishes.
// `node boards.mjs OUTPUT DASHBOARD…`; tests/e2e/test_dashboards.py runs both.
import { readFileSync, writeFileSync } from 'node:fs';

const [output, ...boards] = process.argv.slice(2);
const lines = [
  "import type { Dashboard, Panel, RowPanel } from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';",
  "import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';",
  "import type { Options as Table } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';",
  "import type { Options as TimeSeries } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';",
  "import type { Options as StateTimeline } from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';",
  "import type { GraphFieldConfig } from '@grafana/schema';",
  '// A type as JSON has it: the values of an enumeration as texts, and what has a default may be absent.',
  'type Json<T> = T extends string ? `${T}` : T extends (infer U)[] ? Json<U>[] : T extends object ? { [K in keyof T]?: Json<T[K]> } : T;',
];
const options = { stat: 'Stat', table: 'Table', timeseries: 'TimeSeries', 'state-timeline': 'StateTimeline' };
let count = 0;
const check = (type, value) => lines.push(`export const v${count++}: ${type} = ${JSON.stringify(value, null, 1)};`);
for (const board of boards) {
  const { panels, ...rest } = JSON.parse(readFileSync(board, 'utf8'));
  lines.push(`// ${board}`);
  check("Json<Omit<Dashboard, 'panels'>>", rest);
  for (const panel of panels) {
    if (panel.type === 'row') {
      check('Json<RowPanel>', panel);
      continue;
    }
    lines.push(`// ${panel.title}`);
    check('Json<Panel>', panel);
    check(`Json<${options[panel.type]}>`, panel.options);
    if (panel.type === 'timeseries') check('Json<GraphFieldConfig>', panel.fieldConfig.defaults.custom || {});
  }
}
writeFileSync(output, lines.join('\n') + '\n');
