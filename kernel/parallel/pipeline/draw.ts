/** A schedule as a picture: each stage a row, time from left to right, waiting left blank. */
import type { OperationKind } from './schedule.ts';
import type { TimedOperation, Timeline } from './simulate.ts';

/** How a terminal shows an operation: its letter before the micro-batch, and an SGR colour. */
const MARKS: Record<OperationKind, { letter: string; color: number }> = {
  forward: { letter: 'F', color: 34 },
  backward: { letter: 'B', color: 32 },
  'input-gradient': { letter: 'B', color: 32 },
  'weight-gradient': { letter: 'W', color: 35 },
};

/** How a picture shows an operation: readable on light and dark pages, and told apart by its letter too. */
const FILLS: Record<OperationKind, string> = {
  forward: '#3b82f6',
  backward: '#2ea043',
  'input-gradient': '#2ea043',
  'weight-gradient': '#a371f7',
};

const UNIT = 26;
const ROW = 28;
const LABEL = 64;

/** Letter, micro-batch and, where there are several, the chunk: `F3`, `B0.1`. */
function label({ kind, microBatch, chunk }: TimedOperation, chunks: number): string {
  return `${MARKS[kind].letter}${microBatch}${chunks > 1 ? `.${chunk}` : ''}`;
}

function chunksOf(timeline: Timeline): number {
  return 1 + timeline.stages.flat().reduce((most, { chunk }) => Math.max(most, chunk), 0);
}

/** The schedule as text, one line a stage; times are whole numbers, as `unitTimes` gives them. */
export function scheduleText(timeline: Timeline, options: { color: boolean }): string {
  const chunks = chunksOf(timeline);
  const longest = Math.max(...timeline.stages.flat().map((each) => label(each, chunks).length));
  const cell = longest + 1;
  const lines = timeline.stages.map((operations, stage) => {
    let line = '';
    let time = 0;
    for (const operation of operations) {
      line += ' '.repeat((operation.start - time) * cell);
      const text = label(operation, chunks).padEnd((operation.end - operation.start) * cell - 1, '·');
      line += options.color ? `\u001b[${MARKS[operation.kind].color}m${text}\u001b[0m ` : `${text} `;
      time = operation.end;
    }
    return `stage ${String(stage).padEnd(2)} ${line.trimEnd()}`;
  });
  return `${lines.join('\n')}\n${summary(timeline)}`;
}

/** What the picture says in words. */
function summary({ bubble, peakActivations, stages }: Timeline): string {
  const held = peakActivations.map((count, stage) => `stage ${stage} ${count}`).join(', ');
  return `${stages.length} stages wait ${(bubble * 100).toFixed(1)} % of the time; activations held at most: ${held}`;
}

/** The schedule as an SVG document. */
export function scheduleSvg(timeline: Timeline): string {
  const chunks = chunksOf(timeline);
  const unit = UNIT * (chunks > 1 ? 1.35 : 1);
  const width = LABEL + timeline.duration * unit + 8;
  const height = timeline.stages.length * ROW + 30;
  const rows = timeline.stages.map((operations, stage) => {
    const y = 6 + stage * ROW;
    const boxes = operations.map((operation) => {
      const x = LABEL + operation.start * unit;
      const breadth = (operation.end - operation.start) * unit - 2;
      const text = label(operation, chunks);
      return `<g><rect x="${x.toFixed(1)}" y="${y}" width="${breadth.toFixed(1)}" height="${ROW - 6}" rx="3" fill="${FILLS[operation.kind]}"/><text x="${(x + breadth / 2).toFixed(1)}" y="${y + 15}" text-anchor="middle" fill="#fff">${text}</text></g>`;
    });
    return `<text x="6" y="${y + 15}" fill="#808080">stage ${stage}</text>${boxes.join('')}`;
  });
  const words = summary(timeline);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width.toFixed(0)}" height="${height}" viewBox="0 0 ${width.toFixed(0)} ${height}" role="img" aria-label="${words}" font-family="system-ui, sans-serif" font-size="11">${rows.join('')}<text x="6" y="${height - 8}" fill="#808080">${words}</text></svg>`;
}
