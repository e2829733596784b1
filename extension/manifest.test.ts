import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PLOT_MIME } from '../kernel/protocol/plot-mime.ts';
import { BUNDLE, bundleOf, extractTexts } from './l10n/extract.ts';

interface Manifest {
  icon: string;
  l10n: string;
  activationEvents: string[];
  engines: { vscode: string };
  devDependencies: Record<string, string>;
  enabledApiProposals?: string[];
  contributes: {
    commands: { command: string }[];
    notebookRenderer: { id: string; mimeTypes: string[]; entrypoint: string }[];
    viewsContainers: { activitybar: { icon: string }[] };
    menus: Record<string, { command: string }[]>;
  };
}

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const manifest = JSON.parse(read('package.json')) as Manifest;
const sources = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
  .map((file) => read(join('extension', file)))
  .join('\n');

test('every text of the manifest is there, and none is left over', () => {
  const used = [...read('package.json').matchAll(/"%([\w.]+)%"/g)].map(([, key]) => key).sort();
  assert.deepEqual(Object.keys(JSON.parse(read('package.nls.json')) as object).sort(), [...new Set(used)]);
});

test('every command is registered, and every menu names a command', () => {
  const commands = manifest.contributes.commands.map(({ command }) => command);
  for (const command of commands)
    assert.ok(sources.includes(`'${command}'`), `${command} is registered nowhere`);
  for (const entries of Object.values(manifest.contributes.menus))
    for (const { command } of entries) assert.ok(commands.includes(command), `${command} is no command`);
});

test('the renderer is for the outputs that plots make', () => {
  const [renderer] = manifest.contributes.notebookRenderer;
  assert.deepEqual(renderer?.mimeTypes, [PLOT_MIME]);
  assert.ok(sources.includes(`createRendererMessaging('${renderer.id}')`));
});

test('icons exist; the extension’s own is a PNG of 128 pixels or more', () => {
  for (const { icon } of manifest.contributes.viewsContainers.activitybar)
    assert.ok(existsSync(join(root, icon)));
  const png = readFileSync(join(root, manifest.icon));
  assert.equal(png.toString('latin1', 1, 4), 'PNG');
  assert.ok(png.readUInt32BE(16) >= 128 && png.readUInt32BE(20) >= 128);
});

test('no proposed API is used, and the types are those of the oldest VS Code that is supported', () => {
  assert.equal(manifest.enabledApiProposals, undefined);
  assert.equal(manifest.engines.vscode, `^${manifest.devDependencies['@types/vscode'] ?? ''}`);
});

test('only a notebook activates the extension by itself', () => {
  assert.deepEqual(manifest.activationEvents, ['onNotebook:jupyter-notebook']);
});

test('the texts for translators are those of the code: run `node extension/l10n/extract.ts`', () => {
  assert.equal(readFileSync(BUNDLE, 'utf8'), bundleOf(extractTexts()));
});
