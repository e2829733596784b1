import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { test } from 'node:test';
import type { JupyterMessage } from '../../kernel/jupyter/wire.ts';
import { typesOf, useKernel } from './running-kernel.ts';

const kernel = useKernel();

/** Resolves to the next output that comes when no cell waits for it. */
function lateOutput(): Promise<JupyterMessage> {
  return new Promise((resolve) => {
    const end = kernel.client.onMessage((message) => {
      end();
      resolve(message);
    });
  });
}

test('output of a cell arrives in order and before the cell ends', async () => {
  const { stdout } = await kernel.run("for (let i = 0; i < 1000; i++) console.log('line', i);");
  assert.equal(stdout, Array.from({ length: 1000 }, (_, i) => `line ${i}\n`).join(''));
});

test('streams, displays and results keep their order', async () => {
  const run = await kernel.run(
    "console.log('a'); console.error('b'); display({ 'text/plain': 'c' }); console.log('d'); 'e'",
  );
  const expected = ['execute_input', 'stream', 'stream', 'display_data', 'stream', 'execute_result'];
  assert.deepEqual(typesOf(run), expected);
});

test('a cell that spins has shown what it printed', async () => {
  let seen: () => void = () => undefined;
  const printed = new Promise<void>((resolve) => (seen = resolve));
  const cell = kernel.run("console.log('spinning'); while (true) {}", {
    onMessage: ({ header }) => {
      if (header.msg_type === 'stream') seen();
    },
  });
  await printed;
  await kernel.client.interrupt();
  assert.equal((await cell).reply.ename, 'Interrupted');
});

test('output of processes that a cell starts arrives before the cell ends', async () => {
  await kernel.run("import { execSync } from 'node:child_process';");
  for (let i = 0; i < 10; i++) {
    const { stdout, stderr } = await kernel.run(
      `execSync('echo out ${i}; echo error ${i} >&2', { stdio: 'inherit' });`,
    );
    assert.deepEqual([stdout, stderr], [`out ${i}\n`, `error ${i}\n`]);
  }
});

test('output after the end of a cell goes to that cell, not to the one that runs', async () => {
  const late = lateOutput();
  const first = await kernel.run("setTimeout(() => console.log('late'), 50);");
  const second = await kernel.run('await new Promise((resolve) => setTimeout(resolve, 100));');
  const message = await late;
  const input = first.messages[0]?.parent_header['msg_id'];
  assert.deepEqual([message.content['text'], message.parent_header['msg_id']], ['late\n', input]);
  assert.equal(second.stdout, '');
});

test('an error in a callback is told under the cell that began it', async () => {
  const late = lateOutput();
  await kernel.run("setTimeout(() => { throw new Error('in the background'); }, 20);");
  assert.match(
    String((await late).content['text']),
    /Uncaught.*\nCell In\[\d+\], line 1\n.*in the background/s,
  );
});

test('displays are updated and outputs cleared', async () => {
  const { messages } = await kernel.run(
    "display('one', { displayId: 'd' }); display('two', { displayId: 'd', update: true }); display.clear({ wait: true });",
  );
  const [, shown, updated, cleared] = messages;
  assert.deepEqual(
    [shown?.header.msg_type, updated?.header.msg_type],
    ['display_data', 'update_display_data'],
  );
  assert.deepEqual(updated?.content['transient'], { display_id: 'd' });
  assert.deepEqual([cleared?.header.msg_type, cleared?.content['wait']], ['clear_output', true]);
});

test('a flood of 100 MB is cut, kept in a file, and holds up nothing', async () => {
  const flood = kernel.run(
    "const line = 'x'.repeat(9_999);\nfor (let i = 0; i < 10_000; i++) console.log(line);",
  );
  // The kernel answers meanwhile.
  await kernel.client.request('control', 'kernel_info_request', {});
  const { stdout, messages } = await flood;
  assert.ok(stdout.length < 1_001_000, `${stdout.length} characters are shown`);
  assert.ok(messages.length < 1000, `${messages.length} messages`);
  const path =
    /… truncated: a cell shows 1 MB of text. The full output is in (\S+)\n$/.exec(stdout)?.[1] ?? '';
  const text = readFileSync(path, 'utf8');
  rmSync(dirname(path), { recursive: true });
  assert.equal(text.length, 100_000_000);
  const { result } = await kernel.run('process.memoryUsage().rss < 500e6');
  assert.equal(result, 'true');
});

test('a flood of displays reaches the client whole', async () => {
  const { messages } = await kernel.run(
    "for (let i = 0; i < 20_000; i++) display({ 'text/plain': String(i) });",
  );
  const shown = messages.filter(({ header }) => header.msg_type === 'display_data');
  assert.equal(shown.length, 20_000);
});

test('an endless flood is interrupted', async () => {
  let seen: () => void = () => undefined;
  const flooding = new Promise<void>((resolve) => (seen = resolve));
  const cell = kernel.run("while (true) console.log('again');", {
    onMessage: ({ header }) => {
      if (header.msg_type === 'stream') seen();
    },
  });
  await flooding;
  await kernel.client.interrupt();
  const { reply, stdout } = await cell;
  assert.equal(reply.ename, 'Interrupted');
  const path = /is in (\S+)\n/.exec(stdout)?.[1];
  if (path !== undefined) rmSync(dirname(path), { recursive: true });
});

test('a cell that ends its process is told so, with its last output, and the next cell runs', async () => {
  const exit = await kernel.run("console.log('last words'); process.exit(3)");
  assert.equal(exit.stdout, 'last words\n');
  assert.equal(exit.reply.ename, 'RunnerDied');
  assert.match(exit.reply.evalue ?? '', /exit code 3.*Variables are lost/);
  const killed = await kernel.run("process.kill(process.pid, 'SIGKILL'); await new Promise(() => {});");
  assert.match(killed.reply.evalue ?? '', /signal SIGKILL/);
  assert.equal((await kernel.run('6 * 7')).result, '42');
});

test('running out of memory is told as such', { timeout: 120_000 }, async () => {
  const code =
    "import v8 from 'node:v8';\nv8.setFlagsFromString('--max-old-space-size=60');\nconst all = [];\nfor (;;) all.push(new Array(1000).fill(1.5));";
  const { reply } = await kernel.run(code);
  assert.match(reply.evalue ?? '', /ran out of memory/);
  assert.equal((await kernel.run('1')).result, '1');
});

test('the streams of a silent cell stay silent', async () => {
  const { messages, reply } = await kernel.run("console.log('quiet'); 5", { silent: true });
  assert.deepEqual([messages, reply.status], [[], 'ok']);
});
