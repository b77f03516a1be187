/** The kinds of panels, drawn with the components that Grafana's plugins draw them with. */
import {
  AbsoluteTimeRange,
  DataFrame,
  dateTime,
  FieldDisplay,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  TimeRange,
  VizOrientation,
} from '@grafana/data';
import { BarGauge, BigValue, Table, TimeSeries, UPlotConfigBuilder, useTheme2, VizRepeater } from '@grafana/ui';
import * as React from 'react';

import { Heatmap } from './heatmap';

export interface PanelProps {
  panel: any;
  frames: DataFrame[];
  width: number;
  height: number;
  times: AbsoluteTimeRange;
  /** Where the dashboard's annotations are, and their colour. */
  marks: number[];
  markColour: string;
}

export function rangeOf({ from, to }: AbsoluteTimeRange): TimeRange {
  const range = { from: dateTime(from), to: dateTime(to) };
  return { ...range, raw: range };
}

function valuesOf(props: PanelProps, sparkline: boolean, theme: any): FieldDisplay[] {
  return getFieldDisplayValues({
    data: props.frames,
    fieldConfig: props.panel.fieldConfig,
    reduceOptions: props.panel.options.reduceOptions,
    replaceVariables: (text) => text,
    sparkline,
    theme,
    timeZone: 'utc',
  });
}

function Stat(props: PanelProps) {
  const theme = useTheme2();
  const { options } = props.panel;
  const values = () =>
    valuesOf(props, options.graphMode !== 'none', theme).map((value) => {
      if (value.sparkline) {
        value.sparkline.timeRange = rangeOf(props.times);
      }
      return value;
    });
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, alignmentFactors, width, height, count }: any) => (
        <BigValue
          value={value.display}
          count={count}
          sparkline={value.sparkline}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          textMode={options.textMode}
          alignmentFactors={alignmentFactors}
          width={width}
          height={height}
          theme={theme}
          disableWideLayout={!options.wideLayout}
        />
      )}
      width={props.width}
      height={props.height}
      source={props.frames}
      autoGrid={true}
      renderCounter={1}
      orientation={options.orientation}
    />
  );
}

function Bars(props: PanelProps) {
  const theme = useTheme2();
  const { options } = props.panel;
  return (
    <VizRepeater
      getValues={() => valuesOf(props, false, theme)}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, alignmentFactors, width, height, orientation }: any) => (
        <BarGauge
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex)}
          width={width}
          height={height}
          orientation={orientation}
          theme={theme}
          itemSpacing={options.displayMode === 'lcd' ? 2 : 10}
          displayMode={options.displayMode}
          alignmentFactors={alignmentFactors}
          showUnfilled={options.showUnfilled}
          valueDisplayMode={options.valueMode}
          namePlacement={options.namePlacement}
        />
      )}
      width={props.width}
      height={props.height}
      source={props.frames}
      renderCounter={1}
      itemSpacing={10}
      orientation={options.orientation ?? VizOrientation.Auto}
      minVizWidth={options.minVizWidth}
      minVizHeight={options.minVizHeight}
      maxVizHeight={options.maxVizHeight}
    />
  );
}

/** Dashed lines where annotations are, with a triangle below. */
function marked(config: UPlotConfigBuilder, marks: number[], colour: string): void {
  config.addHook('draw', (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.lineWidth = 2;
    for (const mark of marks) {
      const x = plot.valToPos(mark, 'x', true);
      const bottom = bbox.top + bbox.height;
      ctx.beginPath();
      ctx.setLineDash([5, 5]);
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bottom);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x, bottom);
      ctx.lineTo(x - 5, bottom + 7);
      ctx.lineTo(x + 5, bottom + 7);
      ctx.fill();
    }
    ctx.restore();
  });
}

function Lines({ panel, frames, width, height, times, marks, markColour }: PanelProps) {
  const done = React.useRef<UPlotConfigBuilder>();
  return (
    <TimeSeries
      frames={frames}
      structureRev={1}
      timeRange={rangeOf(times)}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
    >
      {(config) => {
        if (done.current !== config) {
          done.current = config;
          marked(config, marks, markColour);
        }
        return null;
      }}
    </TimeSeries>
  );
}

function Rows({ panel, frames, width, height, times }: PanelProps) {
  const { options } = panel;
  return (
    <Table
      data={frames[options.frameIndex ?? 0]}
      width={width}
      height={height}
      noHeader={!options.showHeader}
      showTypeIcons={options.showTypeIcons}
      initialSortBy={options.sortBy}
      cellHeight={options.cellHeight}
      timeRange={rangeOf(times)}
    />
  );
}

export const KINDS: Record<string, React.ComponentType<PanelProps>> = {
  bargauge: Bars,
  heatmap: Heatmap,
  stat: Stat,
  table: Rows,
  timeseries: Lines,
};
