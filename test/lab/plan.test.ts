/** `plan()` in cells, through a real kernel. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ExecuteReply } from '../../kernel/jupyter/client-messages.ts';
import { startKernel, type KernelClient } from '../../kernel/jupyter/client.ts';
import type { JupyterMessage } from '../../kernel/jupyter/wire.ts';
import { createTestHome, type TestHome } from '../daemon-home.ts';

let lab: TestHome;
let kernel: KernelClient;
before(async () => {
  lab = await createTestHome();
  kernel = await startKernel({ cwd: lab.home, env: { GPT_LAB_HOME: lab.home } });
  const { reply } = await run(`
    import { plan, dummyData, gpt2 } from 'gpt-lab';
    const config = {
      model: gpt2('small'), data: dummyData(), training: { batchSize: 64, precision: 'bf16' },
      parallel: { data: 2, pipeline: 2, zero: 2, microBatches: 4 },
    };`);
  assert.equal(reply.status, 'ok', reply.evalue);
});
after(async () => {
  await kernel.shutdown();
  await lab.end();
});

async function run(code: string): Promise<{ reply: ExecuteReply; data: Record<string, string> }> {
  const messages: JupyterMessage[] = [];
  const reply = await kernel.execute(code, { onMessage: (message) => messages.push(message) });
  const result = messages.find(({ header }) => header.msg_type === 'execute_result');
  return { reply, data: (result?.content['data'] ?? {}) as Record<string, string> };
}

/** A cell's result, as text and as what else it is. */
async function shown(code: string): Promise<Record<string, string>> {
  const { reply, data } = await run(code);
  assert.equal(reply.status, 'ok', `${reply.ename}: ${reply.evalue}`);
  return data;
}

test('a plan is shown as tables of memory and time', async () => {
  const data = await shown("plan(config, { machine: 'h100' })");
  assert.match(data['text/plain'] ?? '', /batchSize 64 = data 2 x microBatches 4 x 8 sequences/);
  assert.match(data['text/plain'] ?? '', /Fits: the fullest rank needs .* of 80 GB/);
  assert.match(data['text/html'] ?? '', /<th>GRADIENTS<\/th>[^]*<td>2 to 3<\/td>/);
});

test('this machine is planned for by default, at once', async () => {
  const { 'text/plain': text } = await shown(
    'const own = plan(config);\n[own.world, own.memory.length, own.seconds.step > 0, own.memory[0].weights > 1e8, own.notRun.length].join()',
  );
  assert.equal(text, "'4,2,true,true,0'");
});

test('the schedule is a picture, with text for those who cannot see it', async () => {
  const data = await shown('plan(config).schedule()');
  assert.match(data['image/svg+xml'] ?? '', /^<svg [^]*stage 1/);
  assert.match(data['text/plain'] ?? '', /^stage 0 {2}F0 F1/);
});

test('the best layouts are plans again, whose configurations are plain objects', async () => {
  const data = await shown(
    "const best = plan(config, { machine: 'a100-80gb' }).best({ ranks: 8, count: 3 });\nbest",
  );
  assert.equal(data['text/html']?.match(/<tr>/g)?.length, 4);
  const { 'text/plain': text } = await shown(
    "const again = plan(best[0].config, { machine: 'a100-80gb' });\n[again.world, again.seconds.step === best[0].seconds.step].join()",
  );
  assert.equal(text, "'8,true'");
});

test('every problem is told at once, as train() tells it', async () => {
  const { reply } = await run(
    "plan({ ...config, training: { batchSize: 7, steps: 0 }, parallel: { data: 2, tensor: 5 } }, { machine: 'h100' })",
  );
  assert.equal(reply.status, 'error');
  assert.equal(reply.ename, 'LabError');
  assert.match(reply.evalue ?? '', /training\.steps is 0: allowed is at least 1/);
  assert.match(reply.evalue ?? '', /training\.batchSize is 7: allowed is a multiple of 2/);
  assert.match(reply.evalue ?? '', /parallel\.tensor is 5: allowed are divisors of model\.heads, 12/);
  const machine = await run("plan(config, { machine: 'tpu' })");
  assert.match(machine.reply.evalue ?? '', /machine is "tpu": allowed is this, a100-40gb/);
});
