import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { RunSeries, toPlotOutput } from '../../kernel/protocol/run-series.ts';
import { fakeLoss, fakeRun } from './fake-run.ts';
import { noBrowser } from '../chromium.ts';
import { RendererPage } from './renderer-page.ts';
import { themes, type ThemeName } from './themes.ts';

const live = { format: 'gpt-lab-plot', version: 1, run: 'run-1', name: 'quickstart', steps: 300 };
const blue = themes.dark.variables['charts-blue'] ?? '';
const orange = themes.dark.variables['charts-orange'] ?? '';

function saved(count: number, state: 'finished' | 'stopped' = 'finished') {
  const series = new RunSeries();
  series.append(fakeRun(count, { end: { event: 'end', status: state } }));
  return toPlotOutput({ run: 'run-1', name: 'quickstart', steps: count, state }, series);
}

describe('the plot renderer in a browser', { skip: noBrowser }, () => {
  let plot: RendererPage;

  before(async () => {
    plot = await RendererPage.open();
  });
  beforeEach(async () => {
    await plot.page.setViewportSize({ width: 900, height: 760 });
    await plot.page.reload();
    await plot.setTheme('dark');
    await plot.page.waitForFunction(() => 'render' in window);
    plot.errors.length = 0;
  });
  after(() => plot.close());

  /** The live plot with the first `count` steps. */
  async function showLive(count: number, options: Parameters<typeof fakeRun>[1] = {}): Promise<void> {
    await plot.render(live);
    await plot.receive({ type: 'events', events: fakeRun(count, { steps: 300, ...options }) });
    await plot.waitForData('points', String(count));
  }

  test('it asks for the run from its first event and draws what comes', async () => {
    await plot.render(live);
    const [request] = await plot.sent();
    assert.deepEqual({ ...request, plot: '' }, { type: 'subscribe', plot: '', run: 'run-1', from: 1 });
    assert.equal(await plot.data('state'), 'starting');
    await plot.receive({ type: 'events', events: fakeRun(120, { steps: 300 }) });
    await plot.waitForData('last-step', '120');
    assert.equal(await plot.data('state'), 'running');
    assert.equal(await plot.data('evaluations'), '4');
    assert.ok((await plot.countPixels(blue)) > 500, 'the training curve is drawn');
    assert.ok((await plot.countPixels(orange)) > 50, 'the validation curve is drawn');
    assert.deepEqual(plot.errors, []);
  });

  test('the curve grows with every batch, and a gap is asked for again', async () => {
    const events = fakeRun(100, { steps: 300, evaluateEvery: 1000 });
    await plot.render(live);
    await plot.receive({ type: 'events', events: events.slice(0, 51) });
    await plot.waitForData('points', '50');
    await plot.receive({ type: 'events', events: events.slice(60) });
    await plot.page.waitForFunction(() => (window as unknown as { sent: unknown[] }).sent.length === 2);
    const again = (await plot.sent()).at(-1);
    assert.ok(again?.type === 'subscribe' && again.from === 52);
    assert.equal(await plot.data('points'), '50');
    await plot.receive({ type: 'events', events: events.slice(51) });
    await plot.waitForData('points', '100');
  });

  test('the header shows step, losses and time left, and Stop asks the extension', async () => {
    await showLive(150);
    const text = await plot.page.getByTestId('gpt-lab-plot').innerText();
    for (const part of [
      'quickstart',
      'running',
      '150',
      '/ 300',
      fakeLoss(150).toFixed(3),
      'Time left',
      'Tokens/s',
    ])
      assert.ok(text.includes(part), `${part} in: ${text}`);
    await plot.page.getByRole('button', { name: 'Stop' }).click();
    assert.deepEqual((await plot.sent()).at(-1), { type: 'stop', run: 'run-1' });
    assert.ok(await plot.page.getByRole('button', { name: 'Stopping …' }).isDisabled());
  });

  test('the end of a run shows its state and error, and takes Stop away', async () => {
    await showLive(80, { end: { event: 'end', status: 'failed', error: 'Rank 0 ran out of memory' } });
    assert.equal(await plot.data('state'), 'failed');
    assert.ok(await plot.page.getByText('Rank 0 ran out of memory').isVisible());
    assert.equal(await plot.page.getByRole('button', { name: 'Stop' }).count(), 0);
  });

  test('a saved plot shows its curve without an extension', async () => {
    const alone = await RendererPage.open({ messaging: false });
    try {
      await alone.render(saved(300));
      await alone.waitForData('points', '300');
      assert.equal(await alone.data('state'), 'finished');
      assert.ok((await alone.countPixels(blue)) > 500);
      assert.deepEqual(alone.errors, []);
    } finally {
      await alone.close();
    }
  });

  test('saving the snapshot of a run that was followed keeps the element and every point', async () => {
    await showLive(300, { end: { event: 'end', status: 'finished' } });
    await plot.page.evaluate(() => {
      document.querySelector('canvas')?.setAttribute('data-same', 'yes');
    });
    await plot.render(saved(300));
    assert.equal(await plot.data('points'), '300');
    assert.equal(await plot.page.locator('canvas[data-same]').count(), 1);
  });

  test('dragging zooms to single steps, a double click shows all again', async () => {
    await showLive(300);
    const before = await plot.data('window');
    const area = await plot.page.locator('.chart.loss .u-over').boundingBox();
    assert.ok(area);
    await plot.page.mouse.move(area.x + area.width * 0.5, area.y + 60);
    await plot.page.mouse.down();
    await plot.page.mouse.move(area.x + area.width * 0.75, area.y + 60, { steps: 5 });
    await plot.page.mouse.up();
    const reset = plot.page.getByRole('button', { name: 'Reset zoom' });
    await reset.waitFor();
    const [from = 0, to = 0] = ((await plot.data('window')) ?? '').split('-').map(Number);
    assert.ok(Math.abs(from - 150.5) < 2 && Math.abs(to - 225) < 2, `${from} to ${to}`);
    await plot.page.mouse.dblclick(area.x + 50, area.y + 50);
    await reset.waitFor({ state: 'hidden' });
    assert.equal(await plot.data('window'), before);
  });

  test('zooming into a saved plot asks for every point of the run', async () => {
    await plot.render(saved(20_000));
    assert.ok(Number(await plot.data('points')) < 3000);
    await plot.page.locator('.chart.loss').focus();
    await plot.page.keyboard.press('+');
    const request = (await plot.sent()).at(-1);
    assert.ok(request?.type === 'subscribe' && request.from === 1);
    await plot.receive({
      type: 'events',
      events: fakeRun(20_000, { end: { event: 'end', status: 'finished' } }),
    });
    await plot.waitForData('points', '20000');
  });

  test('a spike between thousands of points is drawn', async () => {
    await plot.render({ ...live, steps: 20_000 });
    const events = fakeRun(20_000, { loss: (step) => (step === 13_333 ? 60 : 3), evaluateEvery: 1e9 });
    await plot.receive({ type: 'events', events });
    await plot.waitForData('points', '20000');
    assert.ok(Number(await plot.data('drawn')) < 5000, `${await plot.data('drawn')} points are drawn`);
    const [, high = 0] = ((await plot.data('range')) ?? '').split(' ').map(Number);
    assert.ok(high > 60, `the axis ends at ${high}`);
    await plot.page.locator('.chart.loss').focus();
    await plot.page.keyboard.press('Home');
    await plot.page.keyboard.press('End');
    assert.equal(await plot.data('cursor'), '20000');
  });

  test('the logarithmic axis redraws and says what it cannot show', async () => {
    await showLive(100, { loss: (step) => (step <= 3 ? 0 : step === 10 ? null : 5 / step) });
    assert.ok(await plot.page.getByText('1 step without a finite loss').isVisible());
    const before = await plot.page.locator('canvas').first().screenshot();
    await plot.page.getByRole('button', { name: 'Log' }).click();
    await plot.page.getByText('3 values ≤ 0 cannot be drawn on a logarithmic axis').waitFor();
    assert.notDeepEqual(await plot.page.locator('canvas').first().screenshot(), before);
  });

  test('the table has the values of the curve', async () => {
    await showLive(120);
    await plot.page.getByRole('button', { name: 'Table' }).click();
    const row = plot.page.locator('tbody tr', {
      has: plot.page.getByRole('rowheader', { name: '100', exact: true }),
    });
    await row.waitFor();
    const cells = await row.getByRole('cell').allInnerTexts();
    assert.equal(cells[0], fakeLoss(100).toFixed(3));
    assert.equal(cells[2], (fakeLoss(100) + 0.35).toFixed(3));
    assert.equal(await plot.page.locator('tbody tr').count(), 120);
  });

  test('arrow keys read the values aloud', async () => {
    await showLive(120);
    await plot.page.locator('.chart.loss').focus();
    await plot.page.keyboard.press('ArrowRight');
    assert.equal(await plot.data('cursor'), '120');
    await plot.page.keyboard.press('Shift+ArrowLeft');
    assert.equal(await plot.data('cursor'), '110');
    const spoken = await plot.page.locator('[aria-live]').innerText();
    assert.match(spoken, new RegExp(`^Step 110, loss ${fakeLoss(110).toFixed(3)}, learning rate`));
    const label = await plot.page.locator('.chart.loss').getAttribute('aria-label');
    assert.match(label ?? '', /^Loss of quickstart: running, step 120 of 300, training loss from/);
  });

  test('the end of a run is said aloud, and the chart’s name keeps still while it has the focus', async () => {
    const events = fakeRun(60, { end: { event: 'end', status: 'finished' } });
    await plot.render({ ...live, steps: 60 });
    await plot.receive({ type: 'events', events: events.slice(0, 31) });
    await plot.waitForData('state', 'running');
    const chart = plot.page.getByRole('application');
    await chart.focus();
    const name = await chart.getAttribute('aria-label');
    await plot.receive({ type: 'events', events: events.slice(31) });
    await plot.waitForData('state', 'finished');
    assert.equal(await chart.getAttribute('aria-label'), name);
    assert.match(
      await plot.page.locator('[aria-live]').innerText(),
      /^Loss of quickstart: finished, step 60 of 60/,
    );
  });

  test('Reset zoom leaves the focus in the chart', async () => {
    await showLive(120);
    await plot.page.locator('.chart.loss').focus();
    await plot.page.keyboard.press('+');
    const reset = plot.page.getByRole('button', { name: 'Reset zoom' });
    await reset.focus();
    await plot.page.keyboard.press('Enter');
    await reset.waitFor({ state: 'hidden' });
    assert.ok(await plot.page.locator('.chart.loss').evaluate((chart) => chart.matches(':focus')));
  });

  test('a daemon that goes away while a run is being stopped can be asked again', async () => {
    await showLive(20);
    await plot.page.getByRole('button', { name: 'Stop' }).click();
    await plot.page.getByRole('button', { name: 'Stopping …' }).waitFor();
    await plot.receive({ type: 'unavailable', reason: 'No training daemon is running.' });
    assert.ok(await plot.page.getByRole('button', { name: 'Stop', exact: true }).isEnabled());
  });

  for (const theme of Object.keys(themes) as ThemeName[])
    test(`words can be read in the theme ${theme}: contrast of 4.5 to 1 or more`, async () => {
      await plot.setTheme(theme);
      for (const state of ['finished', 'stopped', 'failed', 'interrupted'] as const) {
        const end = { event: 'end', status: state, error: 'Out of memory' } as const;
        await plot.render({ ...live, run: state }, state);
        await plot.receive({ type: 'events', events: fakeRun(30, { end }) });
        const shown = plot.page.locator(`[data-run="${state}"][data-state="${state}"]`);
        await shown.waitFor();
        for (const part of ['.name', '.badge', 'dt', 'dd b', '.notes p', '.key', 'button'])
          assert.ok((await plot.contrast(shown.locator(part).first())) >= 4.5, `${state} ${part}`);
      }
    });

  test('hovering shows the values at the nearest step', async () => {
    await showLive(120);
    const area = await plot.page.locator('.chart.loss .u-over').boundingBox();
    assert.ok(area);
    await plot.page.mouse.move(area.x + (area.width * 49) / 119, area.y + 60);
    const tooltip = plot.page.locator('.tooltip');
    await tooltip.waitFor();
    const text = await tooltip.innerText();
    assert.match(text, /Step 50/);
    assert.ok(text.includes(fakeLoss(50).toFixed(3)), text);
  });

  test('another theme recolours what is drawn', async () => {
    await showLive(120);
    const red = '#e01020';
    assert.equal(await plot.countPixels(red), 0);
    await plot.page.evaluate((color) => {
      document.documentElement.style.setProperty('--vscode-charts-blue', color);
    }, red);
    await plot.page.waitForFunction(
      () => getComputedStyle(document.documentElement).getPropertyValue('--vscode-charts-blue') === '#e01020',
    );
    await plot.page.evaluate(
      () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))),
    );
    assert.ok((await plot.countPixels(red)) > 500);
    assert.equal(await plot.countPixels(blue), 0);
  });

  test('smoothing draws another curve and is kept for the next plot', async () => {
    await showLive(200);
    const before = await plot.page.locator('canvas').first().screenshot();
    await plot.page.getByRole('slider', { name: 'Smoothing' }).fill('0.95');
    await plot.page.getByText('0.95').waitFor();
    assert.notDeepEqual(await plot.page.locator('canvas').first().screenshot(), before);
    await plot.render({ ...live, run: 'run-2' }, 'output-2');
    assert.equal(await plot.page.getByRole('slider', { name: 'Smoothing' }).nth(1).inputValue(), '0.95');
  });

  test('nothing is wider than the page at 320 pixels', async () => {
    await plot.page.setViewportSize({ width: 320, height: 760 });
    await showLive(120);
    await plot.page.getByRole('button', { name: 'Table' }).click();
    const { scroll, client } = await plot.page.evaluate(() => ({
      scroll: document.documentElement.scrollWidth,
      client: document.documentElement.clientWidth,
    }));
    assert.equal(scroll, client);
    await plot.page.setViewportSize({ width: 1200, height: 760 });
    await plot.page.waitForFunction(() => (document.querySelector('canvas')?.clientWidth ?? 0) > 1000);
  });

  test('without a daemon it says so, and a disposed plot wants no more events', async () => {
    await plot.render(live);
    await plot.receive({ type: 'unavailable', reason: 'No training daemon is running.' });
    await plot.page.getByText('No live values: No training daemon is running.').waitFor();
    await plot.waitForData('state', 'unknown');
    await plot.dispose();
    assert.equal((await plot.sent()).at(-1)?.type, 'unsubscribe');
    assert.equal(await plot.page.getByTestId('gpt-lab-plot').count(), 0);
  });

  test('an output that is no plot says what is wrong with it', async () => {
    await plot.render({ ...live, version: 7 });
    await plot.page.getByText('version is 7: this renderer reads version 1').waitFor();
  });

  test('names are shown as they are', async () => {
    await plot.render({ ...live, name: '<img src=x onerror=alert(1)>' });
    await plot.page.getByText('<img src=x onerror=alert(1)>').waitFor();
    assert.equal(await plot.page.locator('img').count(), 0);
  });
});
