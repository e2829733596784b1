/** Jupyter's own clients, in Python: conformance tests, nbclient, `jupyter console`, and their ends. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { distFile } from '../../kernel/home.ts';
import { processGone } from '../daemon-home.ts';
import { pythonWith } from '../python.ts';

const execute = promisify(execFile);

const { python = '', skip = false } = await pythonWith('jupyter', [
  'jupyter_client==8.10.0',
  'jupyter_kernel_test==0.7.0',
  'jupyter_console==6.6.3',
  'nbclient==0.11.0',
  'nbformat==5.11.1',
  'pexpect==4.9.0',
]);

let prefix: string;
before(async () => {
  prefix = await mkdtemp(join(tmpdir(), 'gpt-lab-prefix-'));
  await install('--prefix', prefix);
});
after(() => rm(prefix, { recursive: true, force: true }));

async function install(...options: string[]): Promise<void> {
  const home = { ...process.env, HOME: prefix, XDG_DATA_HOME: '', JUPYTER_DATA_DIR: '' };
  await execute(process.execPath, [distFile('kernel', 'cli.js'), 'kernel', 'install', ...options], {
    env: home,
  });
}

/** Where Python's clients look for kernels, and nowhere else. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, JUPYTER_PATH: join(prefix, 'share', 'jupyter'), HOME: prefix };
}

/** Runs a file of Python tests; its report is the error when one fails. */
async function runSuite(name: string): Promise<void> {
  const child = spawn(python, [join(import.meta.dirname, name), '-v'], {
    env: environment(),
    cwd: prefix,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let report = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (report += String(data)));
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 0, report);
  assert.match(report, /\nRan \d+ tests? in/);
}

test('the kernelspec says how the kernel is started and interrupted, wherever it is installed', async () => {
  await install('--user');
  const folders = [join(prefix, 'share', 'jupyter'), join(prefix, '.local', 'share', 'jupyter')];
  for (const folder of process.platform === 'linux' ? folders : folders.slice(0, 1)) {
    const spec = JSON.parse(
      await readFile(join(folder, 'kernels', 'gpt-lab', 'kernel.json'), 'utf8'),
    ) as unknown;
    assert.deepEqual(spec, {
      argv: [process.execPath, distFile('kernel', 'kernel.js'), '{connection_file}'],
      display_name: 'GPT Lab (TypeScript)',
      language: 'typescript',
      interrupt_mode: 'message',
      env: {},
      metadata: {},
    });
  }
});

test('jupyter_kernel_test and jupyter_client', { skip }, () => runSuite('jupyter_suite.py'));

test('nbclient executes a notebook', { skip }, () => runSuite('notebook_suite.py'));

test('jupyter console', { skip }, () => runSuite('console_suite.py'));

test(
  'no process is left when a Python client is killed; a kernel that is to outlive its client does',
  { skip },
  async () => {
    const script = `
import sys, time
from jupyter_client.manager import start_new_kernel
km, kc = start_new_kernel(kernel_name="gpt-lab", independent=sys.argv[1] == "independent")
def show(message):
    if message["msg_type"] == "stream":
        print(message["content"]["text"].strip(), flush=True)
kc.execute_interactive("console.log([process.ppid, process.pid].join())", output_hook=show)
time.sleep(1000)
`;
    const start = async (kind: string): Promise<{ pids: number[]; kill: () => Promise<unknown> }> => {
      const client = spawn(python, ['-c', script, kind], {
        env: environment(),
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const [line] = (await once(client.stdout, 'data')) as [Buffer];
      const pids = line.toString().trim().split(',').map(Number);
      assert.equal(pids.length, 2);
      return {
        pids,
        kill: () => {
          client.kill('SIGKILL');
          return once(client, 'exit');
        },
      };
    };
    const independent = await start('independent');
    const dependent = await start('dependent');
    await independent.kill();
    await dependent.kill();
    await Promise.all(dependent.pids.map(processGone));
    // It was killed first and would be gone by now.
    for (const pid of independent.pids) process.kill(pid, 0);
    process.kill(independent.pids[0] ?? 0, 'SIGTERM');
    await Promise.all(independent.pids.map(processGone));
  },
);
