import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlotOutput } from './plot.ts';
import { plotSvg } from './plot-svg.ts';
import { sparkline } from './sparkline.ts';
import { niceTicks } from './ticks.ts';

function plot(steps: number, loss: (step: number) => number | null, name = 'quickstart'): PlotOutput {
  const step = Array.from({ length: steps }, (_, index) => index + 1);
  const evaluated = step.filter((number) => number % 50 === 0);
  return {
    format: 'gpt-lab-plot',
    version: 1,
    run: 'r',
    name,
    steps,
    snapshot: {
      state: 'finished',
      train: {
        step,
        loss: step.map(loss),
        learningRate: step.map(() => 1e-3),
        tokensPerSecond: step.map(() => 1e3),
      },
      evaluation: { step: evaluated, loss: evaluated.map(loss) },
      lastSequence: steps,
    },
  };
}

/** Points of the first curve as [x, y]. */
function trainPoints(svg: string): [number, number][] {
  const d = /<path d="(M[^"]*)" stroke="#3b82f6" stroke-width="1.5"/.exec(svg)?.[1] ?? '';
  return [...d.matchAll(/[ML]([\d.]+) ([\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);
}

test('the curve falls from left to right inside the picture, with the figures named', () => {
  const svg = plotSvg(plot(200, (step) => 2 + 8 * Math.exp(-step / 40)));
  const points = trainPoints(svg);
  assert.equal(points.length, 200);
  assert.ok(points.every(([x, y]) => x >= 0 && x <= 640 && y >= 0 && y <= 320));
  assert.ok((points[0]?.[1] ?? 0) < (points.at(-1)?.[1] ?? 0), 'a high loss is drawn high');
  for (const label of [
    'quickstart · finished, step 200 of 200',
    'training 2.054',
    'validation 2.054',
    '>100<',
  ])
    assert.ok(svg.includes(label), label);
});

test('a spike among many steps is drawn', () => {
  const svg = plotSvg(plot(50_000, (step) => (step === 31_337 ? 90 : 3)));
  const heights = trainPoints(svg).map(([, y]) => y);
  assert.equal(heights.filter((y) => y < Math.max(...heights) - 100).length, 1);
  assert.ok(svg.length < 100_000, `${svg.length} bytes`);
});

test('steps without a finite loss are a gap, not a line to zero', () => {
  const svg = plotSvg(plot(100, (step) => (step > 40 && step < 60 ? null : 3)));
  assert.equal(/<path d="(M[^"]*)" stroke="#3b82f6" stroke-width="1.5"/.exec(svg)?.[1]?.split('M').length, 3);
});

test('a name cannot inject markup', () => {
  const svg = plotSvg(plot(2, () => 1, '<script>alert("x")</script>&\u0007'));
  assert.ok(!svg.includes('<script>'));
  assert.ok(svg.includes('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp; '));
});

test('one step, equal losses and no step at all are drawn too', () => {
  for (const steps of [0, 1, 3]) assert.ok(!plotSvg(plot(steps, () => 0)).includes('NaN'), `${steps} steps`);
  assert.ok(plotSvg(plot(0, () => 0)).includes('No steps yet'));
});

test('ticks are round numbers inside the range', () => {
  assert.deepEqual(niceTicks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(niceTicks(1.9, 10.8, 5), [2, 4, 6, 8, 10]);
  assert.deepEqual(niceTicks(0.1, 0.35, 3), [0.1, 0.2, 0.3]);
  assert.deepEqual(niceTicks(5, 5, 3), [5]);
});

test('a sparkline shows the shape of a curve in one line', () => {
  assert.equal(sparkline([8, 7, 6, 5, 4, 3, 2, 1], 8), '█▇▆▅▄▃▂▁');
  assert.equal(sparkline([4, 4, 2, 2], 2), '█▁');
  assert.equal(sparkline([3, null, 3], 3), '▁ ▁');
  assert.equal(sparkline([], 10), '');
});
