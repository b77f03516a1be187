/** The page that the browser is asked to draw dashboards on. */
import '@fontsource/inter/latin-400.css';
import '@fontsource/inter/latin-500.css';
import 'uplot/dist/uPlot.min.css';

import { createTheme, ThemeContext } from '@grafana/data';
import { GlobalStyles } from '@grafana/ui';
import * as React from 'react';
import { createRoot } from 'react-dom/client';

import { annotations, ask, Source, variablesOf } from './asking';
import { faults } from './faults';
import { prepared } from './fields';
import { Board, Filled, placeOf } from './page';
import { KINDS } from './panels';

const theme = createTheme({ colors: { mode: 'dark' } });

/** Draw a dashboard; what is wrong with it is returned. */
async function draw(board: any, source: Source, width: number): Promise<string[]> {
  await Promise.all([document.fonts.load('400 14px Inter'), document.fonts.load('500 14px Inter')]);
  const variables = variablesOf(board);
  const padding = 2 * theme.spacing.gridSize * 2;
  const inner = width - padding;
  const panels: Filled[] = await Promise.all(
    board.panels.map(async (panel: any) => {
      if (panel.type === 'row') {
        return { panel, frames: [] };
      }
      if (!(panel.type in KINDS)) {
        throw new Error(`${panel.title}: it is not known how to draw a ${panel.type}: see panels.tsx`);
      }
      const frames = await ask(panel, variables, source, placeOf(panel.gridPos, inner).width);
      return { panel, frames: await prepared(panel, frames, theme) };
    })
  );
  const marks = await annotations(board, variables, source);
  createRoot(document.getElementById('root')!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Board board={board} panels={panels} times={source} marks={marks} width={inner} />
    </ThemeContext.Provider>
  );
  await settled();
  return faults();
}

/** Until nothing has changed for a while: icons come later. */
function settled(): Promise<void> {
  return new Promise((done) => {
    let timer = setTimeout(done, 1000);
    new MutationObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(done, 1000);
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
}

Object.assign(window, { draw });
