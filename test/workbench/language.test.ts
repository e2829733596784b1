import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Locator } from 'playwright-core';
import { noBrowser } from '../chromium.ts';
import { Workbench, type NotebookPage } from './workbench.ts';

/** What the editor says of code in cells: it comes from the kernel, which knows cells that were not run, too. */
describe('writing code in the real workbench', { skip: noBrowser }, () => {
  let workbench: Workbench;
  let notebook: NotebookPage;

  before(async () => {
    workbench = await Workbench.open({ settings: { 'files.autoSave': 'off' } });
    notebook = await workbench.openNotebook('language.ipynb', [
      '/** How deep it is. */\nconst ocean = { depthInFathoms: 3 };\nfunction dive(from: string, metres: number) { return from + metres; }',
      '// here',
      "`hello ${await prompt('Your name?')}`",
    ]);
  });
  after(() => workbench.close());

  /** Replaces the text of cell 1 by typing. */
  async function type(text: string): Promise<void> {
    await notebook.cell(1).locator('.view-lines').click();
    await workbench.page.keyboard.press('ControlOrMeta+A');
    await workbench.page.keyboard.type(text);
  }

  function suggestion(label: string): Locator {
    // In a window that has just been opened VS Code's own may be there too: its server has not been told yet.
    return workbench.page.locator('.suggest-widget .monaco-list-row').filter({ hasText: label }).first();
  }

  test('names and members of cells that were not run are completed', async () => {
    await type('ocean.dep');
    await suggestion('depthInFathoms').waitFor();
    await workbench.page.keyboard.press('Tab');
    await notebook.cell(1).getByText('ocean.depthInFathoms').waitFor();
  });

  test('a name that would have to be imported brings its import', async () => {
    await type('gpt');
    await suggestion('gpt2').waitFor();
    await workbench.page.keyboard.press('Tab');
    await notebook.cell(1).getByText("import { gpt2 } from 'gpt-lab';").waitFor();
  });

  test('the parameters of a call are shown while it is written', async () => {
    await type("dive('a', ");
    const hints = workbench.page.locator('.parameter-hints-widget');
    await hints.getByText('dive(from: string, metres: number): string').waitFor();
    await workbench.page.keyboard.press('Escape');
  });

  test('a hover tells type and documentation', async () => {
    await type('ocean;');
    // By the keyboard: a mouse over what was just typed may be taken to lie there by chance.
    await workbench.page.keyboard.press('Home');
    await workbench.page.keyboard.press('ControlOrMeta+K');
    await workbench.page.keyboard.press('ControlOrMeta+I');
    const hover = workbench.page.locator('.monaco-hover').filter({ hasText: 'How deep it is.' });
    await hover.getByText('depthInFathoms').first().waitFor();
    await workbench.page.keyboard.press('Escape');
  });

  test('an error of meaning is underlined, one that cells do not make is not', async () => {
    await type('ocean.shallow;');
    await notebook.cell(1).locator('.squiggly-error').waitFor();
    await type('ocean.depthInFathoms;');
    await notebook.cell(1).locator('.squiggly-error').waitFor({ state: 'detached' });
  });

  test('a completion tells its documentation', async () => {
    await type('oce');
    await suggestion('ocean').waitFor();
    // Shows what is known of the suggestion in front.
    await workbench.page.keyboard.press('Control+Space');
    await workbench.page.locator('.suggest-details').getByText('How deep it is.').waitFor();
    await workbench.page.keyboard.press('Escape');
  });

  test('a cell asks in a box', async () => {
    await notebook.run(2);
    const box = workbench.page.locator('.quick-input-widget');
    await box.getByText('Your name?').waitFor();
    await box.locator('input').first().fill('Ada');
    await workbench.page.keyboard.press('Enter');
    await notebook.ends(2, 'success');
    await notebook.shows("'hello Ada'");
  });

  test('nothing in our extension has failed on the way', async () => {
    assert.deepEqual(await workbench.errors(), []);
  });
});
