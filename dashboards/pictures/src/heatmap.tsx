/** The only kind for which there is no component to be had: a heatmap of a histogram's buckets. */
import { dateTimeFormat, formattedValueToString, getDisplayProcessor, getValueFormat } from '@grafana/data';
import { measureText, UPLOT_AXIS_FONT_SIZE, useTheme2 } from '@grafana/ui';
import { interpolateOranges } from 'd3-scale-chromatic';
import * as React from 'react';

import type { PanelProps } from './panels';

const LEGEND = 44;
const AXIS = 24;

interface Cells {
  times: number[];
  step: number;
  /** The upper ends of the buckets. */
  ends: string[];
  /** How much is in each bucket at each time. */
  counts: number[][];
}

/** Buckets hold what is in the ones before, too: what is only in them is the difference. */
function cellsOf(frames: PanelProps['frames']): Cells {
  const end = (frame: any) => Number(frame.fields[1].labels.le.replace('Inf', 'Infinity'));
  const sorted = [...frames].sort((one, other) => end(one) - end(other));
  const times = [...new Set(sorted.flatMap((frame) => frame.fields[0].values as number[]))].sort((a, b) => a - b);
  const step = sorted[0].fields[0].config.interval!;
  const at = sorted.map((frame) => new Map(frame.fields[0].values.map((time, i) => [time, frame.fields[1].values[i] ?? 0])));
  const counts = at.map((bucket, i) =>
    times.map((time) => Math.max((bucket.get(time) ?? 0) - (i ? (at[i - 1].get(time) ?? 0) : 0), 0))
  );
  return { times, step, ends: sorted.map((frame) => frame.fields[1].labels!.le), counts };
}

export function Heatmap({ panel, frames, width, height, times: range }: PanelProps) {
  const theme = useTheme2();
  const canvas = React.useRef<HTMLCanvasElement>(null);
  const { options, fieldConfig } = panel;
  const { color, filterValues, cellGap } = options;
  if (options.calculate || color.mode !== 'scheme' || color.scheme !== 'Oranges') {
    throw new Error('Only buckets in Oranges can be drawn: see heatmap.tsx');
  }
  const cells = React.useMemo(() => cellsOf(frames), [frames]);
  const most = Math.max(...cells.counts.flat());
  // In a dark theme the scheme begins with its dark end.
  const colourOf = (value: number) => {
    const steps = color.steps - 1;
    const share = Math.round(Math.pow(value / most, color.exponent) * steps) / steps;
    return interpolateOranges(theme.isDark !== color.reverse ? 1 - share : share);
  };
  const unit = getValueFormat(options.yAxis.unit ?? fieldConfig.defaults.unit);
  const labels = cells.ends.map((le) => (le === '+Inf' ? '+Inf' : formattedValueToString(unit(Number(le)))));
  const left = Math.ceil(Math.max(...labels.map((text) => measureText(text, UPLOT_AXIS_FONT_SIZE).width))) + 12;
  const plotHeight = height - LEGEND - AXIS;

  React.useEffect(() => {
    const scale = devicePixelRatio;
    const ctx = canvas.current!.getContext('2d')!;
    ctx.scale(scale, scale);
    ctx.font = `${UPLOT_AXIS_FONT_SIZE}px ${theme.typography.fontFamily}`;
    ctx.fillStyle = theme.colors.text.primary;
    const x = (time: number) => left + ((time - range.from) / (range.to - range.from)) * (width - left);
    const row = plotHeight / cells.ends.length;
    const every = Math.ceil(20 / row);
    ctx.textAlign = 'right';
    ctx.textBaseline = 'middle';
    labels.forEach((text, i) => {
      if (i % every === 0) {
        // The upper end of a bucket is the line above it.
        ctx.fillText(text, left - 8, Math.max(plotHeight - (i + 1) * row, 6));
      }
    });
    ctx.textAlign = 'center';
    const minute = [15, 30, 60, 120, 300, 600].find((s) => ((x(s * 1000) - x(0)) as number) > 60)! * 1000;
    for (let time = Math.ceil(range.from / minute) * minute; time < range.to; time += minute) {
      const text = dateTimeFormat(time, { format: minute < 60000 ? 'HH:mm:ss' : 'HH:mm', timeZone: 'utc' });
      if (x(time) + 20 < width && x(time) - 20 > left) {
        ctx.fillText(text, x(time), plotHeight + 14);
      }
    }
    cells.counts.forEach((counts, i) =>
      counts.forEach((count, j) => {
        const begin = Math.max(x(cells.times[j] - cells.step), left);
        const end = x(cells.times[j]);
        if (count > filterValues.le && end > begin) {
          ctx.fillStyle = colourOf(count);
          ctx.fillRect(begin, plotHeight - (i + 1) * row, Math.max(end - begin - cellGap, 1), Math.max(row - cellGap, 1));
        }
      })
    );
  });

  const display = getDisplayProcessor({ theme, field: { type: 'number' as any, config: { unit: 'short' } } });
  const stops = [0, 0.25, 0.5, 0.75, 1].map((share) => colourOf(share * most));
  return (
    <div>
      <canvas
        ref={canvas}
        width={width * devicePixelRatio}
        height={(height - LEGEND) * devicePixelRatio}
        style={{ width, height: height - LEGEND, display: 'block' }}
      />
      <div style={{ width: 300, marginLeft: left, fontSize: 12, color: theme.colors.text.primary }}>
        <div style={{ height: 10, background: `linear-gradient(90deg, ${stops.join(', ')})` }} />
        <div style={{ display: 'flex', justifyContent: 'space-between' }}>
          <span>0</span>
          <span>{formattedValueToString(display(most))}</span>
        </div>
      </div>
    </div>
  );
}
