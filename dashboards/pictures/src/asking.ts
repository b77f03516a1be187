/** What panels ask Prometheus, and the answers as Grafana's data source makes them. */
import {
  createDataFrame,
  DataFrame,
  FieldType,
  Labels,
  rangeUtil,
} from '@grafana/data';

export interface Times {
  /** In milliseconds since 1970. */
  from: number;
  to: number;
}

export interface Source extends Times {
  prometheus: string;
  /** How often is scraped, as it is set in Grafana's data source, in milliseconds. */
  scrape: number;
}

interface Series {
  metric: Labels;
  values?: Array<[number, string]>;
  value?: [number, string];
}

export type Variables = Record<string, string>;

/** The values of a dashboard's variables, where All is chosen and there are a Tempo and a Loki. */
export function variablesOf(board: any): Variables {
  const values: Variables = {};
  for (const variable of board.templating.list) {
    values[variable.name] = variable.type === 'datasource' ? variable.query : (variable.allValue ?? '.*');
  }
  return values;
}

/** The frames of a panel that is `width` pixels wide. */
export async function ask(panel: any, variables: Variables, source: Source, width: number): Promise<DataFrame[]> {
  const answers = await Promise.all(
    panel.targets.map(async (target: any) => {
      const step = stepOf(source, width);
      const series = await query(target, variables, source, step);
      return { target, step, series };
    })
  );
  const tables = answers.filter(({ target }) => target.format === 'table');
  return answers.flatMap(({ target, step, series }) => {
    if (target.format === 'table') {
      const named = tables.filter((one: any) => one.series.length > 0).length > 1;
      return series.length ? [tableOf(target, series, named)] : [];
    }
    return series.map((one: Series) => seriesOf(target, one, step));
  });
}

/** Where a dashboard's annotation is, in milliseconds. */
export async function annotations(board: any, variables: Variables, source: Source): Promise<number[]> {
  const found = board.annotations.list
    .filter((annotation: any) => annotation.target?.expr && annotation.enable)
    .map(async (annotation: any) => {
      const step = Math.max(rangeUtil.intervalToMs(annotation.target.interval ?? '1s'), source.scrape);
      const series = await query({ ...annotation.target, range: true }, variables, source, Math.min(step, source.scrape));
      // Values one after the other are one event, from the first on.
      return series.flatMap(({ values = [] }) =>
        values.filter(([at], i) => i === 0 || at - values[i - 1][0] > (2 * source.scrape) / 1000).map(([at]) => at * 1000)
      );
    });
  return (await Promise.all(found)).flat();
}

function stepOf(source: Source, width: number): number {
  const least = rangeUtil.roundInterval((source.to - source.from) / Math.max(width, 1));
  return Math.max(least, source.scrape);
}

async function query(target: any, variables: Variables, source: Source, step: number): Promise<Series[]> {
  const body = new URLSearchParams();
  body.set('query', filled(target.expr, variables, source, step));
  if (target.instant) {
    body.set('time', String(source.to / 1000));
  } else {
    const aligned = (time: number) => (Math.floor(time / step) * step) / 1000;
    body.set('start', String(aligned(source.from)));
    body.set('end', String(aligned(source.to)));
    body.set('step', String(step / 1000));
  }
  const path = target.instant ? 'query' : 'query_range';
  const response = await fetch(`${source.prometheus}/api/v1/${path}`, { method: 'POST', body });
  const answer = await response.json();
  if (answer.status !== 'success') {
    throw new Error(`${target.expr}: ${answer.error}`);
  }
  return answer.data.result;
}

function filled(expr: string, variables: Variables, source: Source, step: number): string {
  const seconds = (ms: number) => `${Math.ceil(ms / 1000)}s`;
  const all: Variables = {
    ...variables,
    __interval: seconds(step),
    __range: seconds(source.to - source.from),
    __rate_interval: seconds(Math.max(step + source.scrape, 4 * source.scrape)),
  };
  return expr.replace(/\$(?:\{(\w+)(?::\w+)?\}|(\w+))/g, (text, inner, bare) => {
    const name = inner ?? bare;
    if (!(name in all)) {
      throw new Error(`${text} has no value: ${expr}`);
    }
    return all[name];
  });
}

function numberOf(text: string): number | null {
  const number = Number(text.replace('Inf', 'Infinity'));
  return Number.isFinite(number) ? number : null;
}

function seriesOf(target: any, series: Series, step: number): DataFrame {
  const { __name__, ...labels } = series.metric;
  const points = series.values ? withGaps(series.values, step / 1000) : [series.value!];
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: points.map(([at]) => at * 1000), config: { interval: step } },
      {
        name: 'Value',
        type: FieldType.number,
        values: points.map(([, text]) => (text === null ? null : numberOf(text))),
        labels,
        config: { displayNameFromDS: nameOf(target, labels) },
      },
    ],
  });
}

/** Where Prometheus says nothing, there is no line. */
function withGaps(values: Array<[number, string]>, step: number): Array<[number, string | null]> {
  return values.flatMap(([at, text], i): Array<[number, string | null]> => {
    const gap = i > 0 && at - values[i - 1][0] > 1.5 * step;
    return gap ? [[values[i - 1][0] + step, null], [at, text]] : [[at, text]];
  });
}

function nameOf(target: any, labels: Labels): string {
  if (target.legendFormat !== '__auto') {
    // As the data source does it: there is nothing where a label is not.
    return (target.legendFormat ?? '').replace(/\{\{\s*(.+?)\s*\}\}/g, (_: string, label: string) => labels[label] ?? '').trim();
  }
  const texts = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  return texts.length ? `{${texts.join(', ')}}` : target.expr;
}

function tableOf(target: any, series: Series[], named: boolean): DataFrame {
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map(({ value }) => value![0] * 1000) },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        values: series.map(({ metric }) => metric[label] ?? ''),
        config: { filterable: true },
      })),
      {
        name: named ? `Value #${target.refId}` : 'Value',
        type: FieldType.number,
        values: series.map(({ value }) => numberOf(value![1])),
      },
    ],
  });
}
