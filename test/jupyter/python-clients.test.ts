import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { jupyterPython } from './python.ts';

const found = jupyterPython();
const missing = 'missing' in found ? found.missing : false;
const python = 'python' in found ? found.python : '';
const root = join(import.meta.dirname, '..', '..');

/** What one of the checks in jupyter_clients.py found. */
type Finding = Record<string, unknown> & { test: string };

describe('Jupyter’s own clients on the installed kernel', { skip: missing }, () => {
  let prefix: string;
  let environment: NodeJS.ProcessEnv;

  before(() => {
    prefix = mkdtempSync(join(tmpdir(), 'gpt-lab-jupyter-'));
    environment = {
      ...process.env,
      GPT_LAB_HOME: join(prefix, 'home'),
      JUPYTER_DATA_DIR: join(prefix, 'data'),
    };
    environment['JUPYTER_PATH'] = join(prefix, 'share', 'jupyter');
    const gptLab = join(root, 'scripts', 'gpt-lab.mjs');
    const installed = spawnSync(process.execPath, [gptLab, 'kernel', 'install', '--prefix', prefix], {
      env: environment,
      encoding: 'utf8',
    });
    assert.equal(installed.status, 0, installed.stderr);
  });
  after(() => rmSync(prefix, { recursive: true, force: true }));

  test('jupyter_kernel_test: its conformance suite passes', () => {
    const script = join(import.meta.dirname, 'kernel_conformance.py');
    const done = spawnSync(python, [script, '-v'], { env: environment, encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
    // One case is about a pager, which this kernel has none of; any other would be a sample that the suite was not given.
    assert.match(done.stderr, /Ran \d+ tests[^]*\nOK \(skipped=1\)\n/);
    assert.match(done.stderr, /test_pager .* skipped/);
  });

  test('jupyter_client, nbclient and jupyter console run cells', () => {
    const script = join(import.meta.dirname, 'jupyter_clients.py');
    const done = spawnSync(python, [script], { env: environment, encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
    const findings = done.stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Finding);
    const of = (name: string): Finding | undefined => findings.find((finding) => finding.test === name);
    const kinds = of('execute')?.['kinds'] as string[];
    assert.equal(of('execute')?.['status'], 'ok');
    for (const kind of ['execute_input', 'stream', 'execute_result']) assert.ok(kinds.includes(kind), kind);
    assert.deepEqual(of('interrupt'), { test: 'interrupt', ename: 'Interrupted', result: ['42'] });
    assert.deepEqual(of('stdin'), { test: 'stdin', result: ["'Ishmael'"] });
    assert.deepEqual(of('shutdown')?.['left'], []);
    assert.ok(Number(of('shutdown')?.['processes']) >= 2, 'supervisor and cell runner');
    assert.deepEqual(of('nbclient'), { test: 'nbclient', stream: '6\n', result: '42' });
    assert.deepEqual(of('console'), { test: 'console', shown: true });
  });
});
