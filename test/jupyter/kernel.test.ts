import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { startKernel, type ExecuteReply, type KernelClient } from '../../kernel/jupyter/client.ts';
import type { JupyterMessage } from '../../kernel/jupyter/wire.ts';
import { processGone } from '../daemon-home.ts';

let kernel: KernelClient;
before(async () => {
  kernel = await startKernel({ cwd: import.meta.dirname });
});
after(() => kernel.shutdown());

interface Run {
  reply: ExecuteReply;
  messages: JupyterMessage[];
  stdout: string;
  result: unknown;
}

async function run(code: string): Promise<Run> {
  const messages: JupyterMessage[] = [];
  const reply = await kernel.execute(code, { onMessage: (message) => messages.push(message) });
  const of = (type: string): JupyterMessage[] => messages.filter(({ header }) => header.msg_type === type);
  const stdout = of('stream')
    .map(({ content }) => String(content['text']))
    .join('');
  const data = of('execute_result')[0]?.content['data'] as Record<string, unknown> | undefined;
  return { reply, messages, stdout, result: data?.['text/plain'] };
}

test('the last expression is the result, with the count of the cell', async () => {
  const { reply, result } = await run('const one: number = 1;\none + 1');
  assert.equal(reply.status, 'ok');
  assert.equal(result, '2');
});

test('output of a cell arrives in order and before the cell ends', async () => {
  const { stdout } = await run("for (let i = 0; i < 1000; i++) console.log('line', i);");
  assert.equal(stdout.split('\n').length, 1001);
  assert.match(stdout, /line 999\n$/);
});

test('every kind of declaration can be made again by every other kind', async () => {
  const kinds = [
    'var x = 1;',
    'let x = 1;',
    'const x = 1;',
    'function x() { return 1; }',
    'class x {}',
    'enum x { A }',
  ];
  for (const first of kinds) {
    for (const second of kinds) {
      for (const code of [first, second]) {
        const { reply } = await run(code);
        assert.equal(reply.status, 'ok', `${first} then ${second}: ${reply.evalue}`);
      }
    }
  }
});

test('await stands at the top level, functions are hoisted, types are erased', async () => {
  const { result } = await run(
    'type N = number;\nconst v: N = await later(20);\nv + 1\nasync function later(n: N) { return n * 2; }',
  );
  assert.equal((await run('v + 1')).result, '41', String(result));
});

test('imports of built-in modules, ES modules and CommonJS stay for later cells', async () => {
  await run(
    "import { basename as base } from 'node:path';\nimport { z } from 'zod';\nimport ts from 'typescript';",
  );
  assert.equal(
    (await run("[base('/a/b'), typeof z.string, typeof ts.createSourceFile].join()")).result,
    "'b,function,function'",
  );
  assert.equal((await run("(await import('node:os')).EOL.length")).result, '1');
});

test('an error names cell, line and column, and quotes the line', async () => {
  const { reply, messages } = await run(
    'const fine = 1;\n\nfunction broken() {\n  throw new RangeError(`no ${fine}`);\n}\nbroken();',
  );
  assert.equal(reply.status, 'error');
  assert.deepEqual([reply.ename, reply.evalue], ['RangeError', 'no 1']);
  const text = reply.traceback?.join('\n') ?? '';
  assert.match(text, /^Cell In\[\d+\], line 4\n.*\n.*\n----> 4 {3}throw new RangeError\(.*\n {16}\^\n/);
  assert.match(
    text,
    /RangeError: no 1\n {4}at broken, Cell In\[\d+\], line 4\n {4}at Cell In\[\d+\], line 6$/,
  );
  assert.equal(messages.filter(({ header }) => header.msg_type === 'error').length, 1);
});

test('a mistake in the syntax is told with its place before anything runs', async () => {
  const { reply } = await run('globalThis.ran = true;\nconst = 3;');
  assert.equal(reply.ename, 'SyntaxError');
  assert.match(reply.traceback?.[0] ?? '', /^Cell In\[\d+\], line 2\n.*\n----> 2 const = 3;\n {14}\^$/);
  assert.equal((await run('(globalThis as any).ran')).result, undefined);
});

test('an interrupt ends a loop and a pending await, and keeps the state', async () => {
  await run('let kept = 42;');
  for (const code of [
    "console.log('in');\nwhile (true) {}",
    "console.log('in');\nawait new Promise(() => {});",
  ]) {
    let began: () => void = () => undefined;
    const running = new Promise<void>((resolve) => (began = resolve));
    // A spinning cell cannot flush its output: its input is announced before it runs.
    const cell = kernel.execute(code, { onMessage: () => began() });
    await running;
    await kernel.interrupt();
    assert.equal((await cell).ename, 'Interrupted');
    assert.equal((await run('kept')).result, '42');
  }
});

test('rich values choose how they are shown', async () => {
  const { messages } = await run(
    "({ [Symbol.for('Jupyter.display')]: () => ({ 'text/html': '<b>bold</b>' }) })",
  );
  const shown = messages.find(({ header }) => header.msg_type === 'execute_result')?.content['data'];
  assert.equal((shown as Record<string, unknown>)['text/html'], '<b>bold</b>');
});

test('a cell that ends its process is told so, and the next cell runs', async () => {
  const { reply } = await run('process.exit(3)');
  assert.equal(reply.ename, 'RunnerDied');
  assert.match(reply.evalue ?? '', /exit code 3.*Variables are lost/);
  assert.equal((await run('6 * 7')).result, '42');
});

test('a restart forgets variables', async () => {
  await run('const before = 1;');
  await kernel.restart();
  assert.equal((await run('typeof before')).result, "'undefined'");
});

test('no process is left when the client is killed, not even from a cell that spins', async () => {
  const client = spawn(
    process.execPath,
    [
      '--input-type=module-typescript',
      '-e',
      `
    import { startKernel } from '${import.meta.dirname}/../../kernel/jupyter/client.ts';
    const kernel = await startKernel({ cwd: '/' });
    const show = (message) => { if (message.header.msg_type === 'stream') console.log(message.content.text); };
    await kernel.execute('console.log(JSON.stringify([process.pid, process.ppid]))', { onMessage: show });
    void kernel.execute('while (true) {}', { onMessage: () => console.log('spinning') });
  `,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let said = '';
  for await (const data of client.stdout) {
    said += String(data);
    if (said.includes('spinning')) break;
  }
  const pids = JSON.parse(said.split('\n')[0] ?? '[]') as number[];
  assert.equal(pids.length, 2);
  const ended = once(client, 'exit');
  client.kill('SIGKILL');
  await ended;
  await Promise.all(pids.map(processGone));
});
