#!/usr/bin/env node
/** The `gpt-lab` command: finds a Node with node:sqlite and module.registerHooks (>= 22.15) and runs dist/kernel/cli.js on it. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { fail, node24, root } from './tools.mjs';

const cli = join(root, 'dist', 'kernel', 'cli.js');
if (!existsSync(cli)) fail('gpt-lab is not built yet: run `npm run build` (or `npm start`) in ' + root);

const [major, minor] = process.versions.node.split('.').map(Number);
if (major > 23 || (major === 22 && minor >= 15)) {
  await import(pathToFileURL(cli).href);
} else if (existsSync(node24)) {
  const child = spawn(node24, [cli, ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
} else {
  fail(
    `gpt-lab needs Node 22.15, 24 or newer (this is ${process.version}): run \`npm install\` in ${root}, which brings one.`,
  );
}
