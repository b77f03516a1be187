// What our dashboards are made of, in the types that Grafana publishes as @grafana/schema.
import { AnnotationQuery, Dashboard, DashboardLink, FieldConfig, FieldConfigSource, Panel, RowPanel, VariableModel } from './node_modules/@grafana/schema/dist/types/raw/dashboard/x/dashboard_types.gen';
import * as BarGauge from './node_modules/@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import * as Heatmap from './node_modules/@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import * as Stat from './node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import * as Table from './node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import * as TimeSeries from './node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// A panel says its kind; these types leave open what the options of the kind are, and say them elsewhere.
type Defaults<Custom> = Omit<FieldConfig, 'custom'> & { custom?: Custom };
type Fields<Custom> = Omit<FieldConfigSource, 'defaults'> & { defaults: Defaults<Custom> };
type PanelOf<Type, Options, Custom> = Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'links'> & {
  type: Type;
  options?: Options;
  fieldConfig?: Fields<Custom>;
  links?: Link[];
};
type AnyPanel =
  | PanelOf<'bargauge', BarGauge.Options, Record<string, never>>
  | PanelOf<'heatmap', Heatmap.Options, Heatmap.FieldConfig>
  | PanelOf<'stat', Stat.Options, Record<string, never>>
  | PanelOf<'table', Table.Options & NoFooter, Table.FieldConfig>
  | PanelOf<'timeseries', TimeSeries.Options, TimeSeries.FieldConfig>;
type Row = Omit<RowPanel, 'panels'> & { panels: AnyPanel[] };

// Until 12.1; the SDK writes it.
type NoFooter = { footer?: { show: false; countRows: false; reducer: string[] } };

// Since 12.3.
type Link = Omit<DashboardLink, 'placement'> & { placement?: 'inControlsMenu' };

// What these types have not yet, as a comment of theirs says: the query of a data source, and what its plugin adds.
type Annotation = Omit<AnnotationQuery, 'target'> & {
  target: { expr: string; refId: string; [other: string]: unknown };
  tagKeys?: string;
  textFormat?: string;
  titleFormat?: string;
  placement?: 'inControlsMenu';
};

// All kinds of variables are one type there; these are of some kinds only.
type Variable = VariableModel & { auto?: boolean; auto_count?: number; auto_min?: string; definition?: string };

export type Board = Omit<Dashboard, 'panels' | 'annotations' | 'links' | 'templating'> & {
  panels: Array<AnyPanel | Row>;
  annotations: { list: Annotation[] };
  links: Link[];
  templating: { list: Variable[] };
};
