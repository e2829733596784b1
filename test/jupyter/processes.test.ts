import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { processGone } from '../daemon-home.ts';
import { run, useKernel } from './running-kernel.ts';

const kernel = useKernel();

/** Runs `code` as a client of its own, until it has printed a line that begins with `until`; gives its process. */
async function clientThat(
  code: string,
  until: string,
): Promise<{ output: string; kill: () => Promise<void> }> {
  const source = `
    import { startKernel } from '${import.meta.dirname}/../../kernel/jupyter/client.ts';
    const kernel = await startKernel({ cwd: '/' });
    const show = ({ header, content }) => { if (header.msg_type === 'stream') console.log(content.text); };
    ${code}`;
  const client = spawn(process.execPath, ['--input-type=module-typescript', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  for await (const data of client.stdout) {
    output += String(data);
    if (output.includes(until)) break;
  }
  return {
    output,
    kill: async () => {
      const ended = once(client, 'exit');
      client.kill('SIGKILL');
      await ended;
    },
  };
}

test('no process is left when the client is killed: not of a cell that spins, not what it started, not the language service', async () => {
  const { output, kill } = await clientThat(
    `
    await kernel.complete('', 0);
    await kernel.execute(\`
      import { spawn, execFileSync } from 'node:child_process';
      const child = spawn('sleep', ['1000'], { stdio: 'inherit' });
      const language = execFileSync('ps', ['-o', 'pid=', '--ppid', String(process.ppid)], { encoding: 'utf8' });
      console.log('pids', process.ppid, child.pid, language.trim().split(/\\\\s+/).join(' '));
    \`, { onMessage: show });
    void kernel.execute('console.log("spinning"); while (true) {}', { onMessage: show });
  `,
    'spinning',
  );
  const pids = (/pids (.*)/.exec(output)?.[1] ?? '').split(' ').map(Number);
  // Supervisor, sleep, runner and language process.
  assert.equal(pids.length, 4, output);
  await kill();
  await Promise.all(pids.map(processGone));
});

test('a restart forgets variables; the old processes and what they started are gone', async () => {
  const { result } = await kernel.run(
    "import { spawn } from 'node:child_process';\nconst before = spawn('sleep', ['1000']);\n[process.pid, process.ppid, before.pid].join()",
  );
  const pids = String(result).replaceAll("'", '').split(',').map(Number);
  await kernel.client.restart();
  await Promise.all(pids.map(processGone));
  assert.equal((await kernel.run('typeof before')).result, "'undefined'");
});

test('the death of the kernel is told with its last words, and a restart mends it', async () => {
  const supervisor = Number((await kernel.run('process.ppid')).result);
  const pending = kernel.client.execute('await new Promise(() => {})', { onMessage: () => undefined });
  const died = kernel.client.died;
  process.kill(supervisor, 'SIGKILL');
  assert.match((await died).reason, /signal SIGKILL/);
  await assert.rejects(pending, /The kernel has died: signal SIGKILL/);
  await kernel.client.restart();
  assert.equal((await run(kernel.client, '1')).result, '1');
});
