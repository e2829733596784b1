/**
 * `npm start`: from a bare clone to the lab, VS Code in the browser with the extension installed and samples/ open.
 *   npm start -- --headless   trains samples/quickstart.ipynb in the terminal and writes the executed notebook
 *   npm start -- --desktop    packages the extension, installs it into the desktop VS Code and opens samples/
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBrowser } from './browser.mjs';
import { packageExtension } from './package.mjs';
import { fail, node24, prepare, root, run } from './tools.mjs';

const modes = ['--headless', '--desktop'];
const samples = join(root, 'samples');

/** Runs the quickstart through the real kernel and daemon. */
function runHeadless() {
  const executed = join(mkdtempSync(join(tmpdir(), 'gpt-lab-')), 'quickstart.ipynb');
  const cli = join(root, 'dist', 'kernel', 'cli.js');
  run(node24, [cli, 'notebook', 'run', join(samples, 'quickstart.ipynb'), '--to', executed]);
}

/** Installs the extension into the VS Code on PATH and opens the samples there. */
async function openDesktop() {
  if (spawnSync('code', ['--version'], { stdio: 'ignore' }).status !== 0) {
    throw new Error(
      'The command `code` is not on PATH: in VS Code run "Shell Command: Install \'code\' command in PATH", then run this again.',
    );
  }
  const vsix = await packageExtension();
  run('code', ['--install-extension', vsix, '--force']);
  run('code', [samples]);
}

try {
  const flags = process.argv.slice(2);
  const unknown = flags.find((flag) => !modes.includes(flag));
  if (unknown !== undefined) {
    throw new Error(`${unknown} is not known: allowed are ${modes.join(' and ')}, one at a time`);
  }
  if (flags.length > 1) throw new Error(`${flags.join(' ')}: allowed is one of ${modes.join(' and ')}`);
  await prepare();
  if (flags[0] === '--headless') runHeadless();
  else if (flags[0] === '--desktop') await openDesktop();
  else await openBrowser(await packageExtension(), samples);
} catch (error) {
  fail(error);
}
