/** A dashboard: its title, variables, rows and panels, where Grafana has them. */
import { AbsoluteTimeRange, DataFrame, dateTimeFormat, GrafanaTheme2 } from '@grafana/data';
import { Icon, PanelChrome, useTheme2 } from '@grafana/ui';
import * as React from 'react';

import { KINDS } from './panels';

const CELL = 30;
const GAP = 8;
const COLUMNS = 24;

export interface Filled {
  panel: any;
  frames: DataFrame[];
}

export interface BoardProps {
  board: any;
  panels: Filled[];
  times: AbsoluteTimeRange;
  marks: number[];
  /** Of all panels, in pixels. */
  width: number;
}

export function placeOf({ x, y, w, h }: { x: number; y: number; w: number; h: number }, width: number) {
  const column = (width + GAP) / COLUMNS;
  return {
    left: Math.round(x * column),
    top: y * (CELL + GAP),
    width: Math.round(w * column - GAP),
    height: h * (CELL + GAP) - GAP,
  };
}

export function Board({ board, panels, times, marks, width }: BoardProps) {
  const theme = useTheme2();
  const bottom = Math.max(...panels.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h));
  return (
    <div style={{ width, padding: theme.spacing(0, 2, 2), boxSizing: 'content-box' }}>
      <Head board={board} times={times} />
      <div style={{ position: 'relative', height: bottom * (CELL + GAP) }}>
        {panels.map(({ panel, frames }) => {
          const place = placeOf(panel.gridPos, width);
          return (
            <div key={panel.id} data-panel={panel.title} style={{ position: 'absolute', ...place }}>
              {panel.type === 'row' ? (
                <RowTitle title={panel.title} />
              ) : (
                <Panel panel={panel} frames={frames} times={times} place={place} marks={marks} theme={theme} board={board} />
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}

function RowTitle({ title }: { title: string }) {
  const theme = useTheme2();
  return (
    <div style={{ display: 'flex', alignItems: 'center', gap: 4, height: '100%', fontSize: theme.typography.h5.fontSize }}>
      <Icon name="angle-down" />
      <span style={{ fontWeight: theme.typography.fontWeightMedium }}>{title}</span>
    </div>
  );
}

interface ShownProps extends Filled {
  times: AbsoluteTimeRange;
  place: { width: number; height: number };
  marks: number[];
  theme: GrafanaTheme2;
  board: any;
}

function Panel({ panel, frames, times, place, marks, theme, board }: ShownProps) {
  const Kind = KINDS[panel.type];
  const colour = theme.visualization.getColorByName(board.annotations.list.at(-1)?.iconColor ?? 'blue');
  // Its kind decides what to do with nothing; a diagram has nothing to draw.
  const empty = frames.length === 0 && panel.type !== 'stat';
  return (
    <PanelChrome
      title={panel.title}
      description={panel.description}
      width={place.width}
      height={place.height}
      padding={panel.type === 'table' ? 'none' : 'md'}
    >
      {(width, height) =>
        empty ? (
          <div className="no-data">No data</div>
        ) : (
          <Kind panel={panel} frames={frames} width={width} height={height} times={times} marks={marks} markColour={colour} />
        )
      }
    </PanelChrome>
  );
}

function Head({ board, times }: { board: any; times: AbsoluteTimeRange }) {
  const theme = useTheme2();
  const clock = (time: number) => dateTimeFormat(time, { format: 'YYYY-MM-DD HH:mm:ss', timeZone: 'utc' });
  const line: React.CSSProperties = { display: 'flex', alignItems: 'center', gap: 8, padding: theme.spacing(1.5, 0, 0) };
  return (
    <header style={{ paddingBottom: 12 }}>
      <div style={{ ...line, justifyContent: 'space-between' }}>
        <span style={{ fontSize: theme.typography.h4.fontSize }}>{board.title}</span>
        <span style={{ display: 'flex', gap: 8 }}>
          {board.links.map((link: any) => (
            <Box key={link.title}>
              <Icon name="bars" size="sm" /> {link.title} <Icon name="angle-down" />
            </Box>
          ))}
          <Box>
            <Icon name="clock-nine" size="sm" /> {clock(times.from)} to {clock(times.to)} UTC
          </Box>
          <Box>
            <Icon name="sync" size="sm" /> {board.refresh}
          </Box>
        </span>
      </div>
      <div style={{ ...line, flexWrap: 'wrap' }}>
        {board.templating.list.filter(({ hide }: any) => hide !== 2).map((variable: any) => (
          <span key={variable.name} style={{ display: 'flex' }}>
            <Box label>{variable.label}</Box>
            <Box>
              {variable.type === 'datasource' ? variable.query[0].toUpperCase() + variable.query.slice(1) : 'All'}
              <Icon name="angle-down" />
            </Box>
          </span>
        ))}
      </div>
    </header>
  );
}

function Box({ children, label = false }: React.PropsWithChildren<{ label?: boolean }>) {
  const theme = useTheme2();
  const { background, borderColor } = theme.components.input;
  const style: React.CSSProperties = {
    display: 'flex',
    alignItems: 'center',
    gap: 6,
    height: theme.spacing(4),
    padding: theme.spacing(0, 1),
    fontSize: theme.typography.bodySmall.fontSize,
    background: label ? theme.colors.background.secondary : background,
    border: `1px solid ${label ? 'transparent' : borderColor}`,
    borderRadius: theme.shape.radius.default,
  };
  return <span style={style}>{children}</span>;
}
