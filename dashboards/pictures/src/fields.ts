/** Units, colours, thresholds and overrides of a panel, put on its data by Grafana's own code. */
import {
  applyFieldOverrides,
  DataFrame,
  FieldConfigOptionsRegistry,
  GrafanaTheme2,
  Registry,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

const STANDARD = ['unit', 'min', 'max', 'decimals', 'displayName', 'mappings', 'thresholds', 'color', 'links', 'noValue', 'fieldMinMax'];
const CUSTOM = [
  'align',
  'axisPlacement',
  'axisSoftMax',
  'barAlignment',
  'cellOptions',
  'drawStyle',
  'fillOpacity',
  'filterable',
  'inspect',
  'lineInterpolation',
  'lineStyle',
  'lineWidth',
  'minWidth',
  'pointSize',
  'showPoints',
  'spanNulls',
  'stacking',
  'thresholdsStyle',
  'width',
];

function property(path: string, isCustom: boolean): any {
  const id = isCustom ? `custom.${path}` : path;
  return { id, path, name: id, isCustom, process: (value: unknown) => value, shouldApply: () => true };
}

const PROPERTIES: FieldConfigOptionsRegistry = new Registry(() => [
  ...STANDARD.map((path) => property(path, false)),
  ...CUSTOM.map((path) => property(path, true)),
]);

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((transformation: any) => ({
    id: transformation.id,
    name: transformation.name,
    transformation,
    editor: () => null,
  }))
);

/** What a panel says that is not known here would be missing in the picture. */
function known(fieldConfig: any): void {
  const asked = [
    ...Object.keys(fieldConfig.defaults).filter((key) => key !== 'custom'),
    ...Object.keys(fieldConfig.defaults.custom ?? {}).map((key) => `custom.${key}`),
    ...fieldConfig.overrides.flatMap((rule: any) => rule.properties.map(({ id }: any) => id)),
  ];
  const missing = asked.filter((id) => !PROPERTIES.getIfExists(id));
  if (missing.length) {
    throw new Error(`It is not known how to draw ${missing.join(', ')}: see fields.ts`);
  }
}

export async function prepared(panel: any, frames: DataFrame[], theme: GrafanaTheme2): Promise<DataFrame[]> {
  known(panel.fieldConfig);
  const transformed = panel.transformations?.length
    ? await firstValueFrom(transformDataFrame(panel.transformations, frames))
    : frames;
  return applyFieldOverrides({
    data: transformed,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: PROPERTIES,
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
}
