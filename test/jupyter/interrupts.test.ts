import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run, useKernel, type Run } from './running-kernel.ts';

const kernel = useKernel();

/** Starts a cell and interrupts it when its first message of a type comes; its input is announced before it runs. */
async function interruptAt(type: 'execute_input' | 'stream', code: string): Promise<Run> {
  let began: () => void = () => undefined;
  const running = new Promise<void>((resolve) => (began = resolve));
  const cell = kernel.run(code, {
    onMessage: ({ header }) => {
      if (header.msg_type === type) began();
    },
  });
  await running;
  await kernel.client.interrupt();
  return cell;
}

const endless = {
  'a loop': "console.log('in'); while (true) {}",
  'a loop that catches everything': "console.log('in'); while (true) { try { while (true); } catch {} }",
  'a pending await': "console.log('in'); await new Promise(() => {});",
  'a loop of awaits': "console.log('in'); for (;;) await null;",
  'a loop of timers': "console.log('in'); for (;;) await new Promise((next) => setTimeout(next, 1));",
  'a loop after an await':
    "await new Promise((next) => setTimeout(next, 1)); console.log('in'); while (true) {}",
  'a loop in a timer': "await new Promise(() => setTimeout(() => { console.log('in'); while (true) {} }));",
  'a loop in an immediate':
    "await new Promise(() => setImmediate(() => { console.log('in'); while (true) {} }));",
};
for (const [what, code] of Object.entries(endless)) {
  test(`${what} ends, and variables are kept`, async () => {
    await kernel.run('let kept = 42;');
    const { reply } = await interruptAt('stream', code);
    assert.equal(reply.ename, 'Interrupted');
    assert.match(reply.evalue ?? '', /variables are kept/);
    assert.equal((await kernel.run('kept')).result, '42');
  });
}

test('a cell that has not begun yet does not begin', async () => {
  for (const code of ['while (true) {}', 'await new Promise(() => {});']) {
    assert.equal((await interruptAt('execute_input', code)).reply.ename, 'Interrupted');
    assert.equal((await kernel.run('1')).result, '1');
  }
});

test('a process that the cell waits for is interrupted too', async () => {
  await kernel.run("import { execSync } from 'node:child_process';");
  const { reply } = await interruptAt('execute_input', "execSync('sleep 1000');");
  assert.equal(reply.ename, 'Interrupted');
});

test('an interrupt ends the cell that runs and what is queued behind it, nothing later', async () => {
  let began: () => void = () => undefined;
  const running = new Promise<void>((resolve) => (began = resolve));
  const first = kernel.run('while (true) {}', { onMessage: () => began() });
  await running;
  const queued = kernel.run('globalThis.wrong = true;');
  // Answered in order of arrival: the queued cell has reached the kernel.
  await kernel.client.request('shell', 'kernel_info_request', {});
  await kernel.client.interrupt();
  assert.deepEqual([(await first).reply.ename, (await queued).reply.ename], ['Interrupted', 'Aborted']);
  assert.equal((await kernel.run('(globalThis as any).wrong')).result, undefined);
});

test('an interrupt while nothing runs does nothing', async () => {
  await kernel.client.interrupt();
  assert.equal((await kernel.run('1 + 1')).result, '2');
});

test('interrupts that race with the end of their cell never hit another one', async () => {
  for (let i = 0; i < 40; i++) {
    const cell = run(kernel.client, `for (let j = 0; j < ${i} * 2e5; j++); await null; ${i}`);
    const stop = kernel.client.interrupt();
    const { reply, result } = await cell;
    await stop;
    assert.ok(
      reply.ename === 'Interrupted' || result === String(i),
      `cell ${i}: ${reply.ename ?? String(result)}`,
    );
    assert.equal((await run(kernel.client, `${i} + 1`)).result, String(i + 1));
  }
});

test('a callback that blocks the next cell can be interrupted', async () => {
  const blocked = new Promise<void>((resolve) => {
    const end = kernel.client.onMessage(() => {
      end();
      resolve();
    });
  });
  await kernel.run("setTimeout(() => { console.log('blocking'); while (true) {} }, 20);");
  await blocked;
  // It ends interrupted, or runs after all now that it can.
  await interruptAt('execute_input', "'reached'");
  assert.equal((await kernel.run('7')).result, '7');
});

test('cells learn of an interrupt and can end what they have begun', async () => {
  const code =
    "const signal = (globalThis as any)[Symbol.for('gpt-lab.host')].interruptSignal();\nsignal.addEventListener('abort', () => console.log('told'));\nconsole.log('in');\nawait new Promise(() => {});";
  assert.equal((await interruptAt('stream', code)).stdout, 'in\ntold\n');
});
