import assert from 'node:assert/strict';
import { test } from 'node:test';
import { typesOf, useKernel } from './running-kernel.ts';

const kernel = useKernel();

test('the kernel says what it is, on both channels', async () => {
  for (const channel of ['shell', 'control'] as const) {
    const info = await kernel.client.request(channel, 'kernel_info_request', {});
    assert.deepEqual(
      [info['status'], info['implementation'], info['protocol_version']],
      ['ok', 'gpt-lab', '5.5'],
    );
    assert.equal((info['language_info'] as Record<string, unknown>)['file_extension'], '.ts');
  }
});

test('user expressions are evaluated after a cell that succeeds', async () => {
  const { reply } = await kernel.run('let u = 20;', {
    userExpressions: { value: 'u + 1', wrong: 'nowhere', mistaken: 'const =' },
  });
  const { value, wrong, mistaken } = reply.user_expressions as Record<string, Record<string, unknown>>;
  assert.deepEqual(value, { status: 'ok', data: { 'text/plain': '21' }, metadata: {} });
  assert.deepEqual([wrong?.['status'], wrong?.['ename']], ['error', 'ReferenceError']);
  assert.deepEqual([mistaken?.['status'], mistaken?.['ename']], ['error', 'SyntaxError']);
});

test('a silent cell has no output, no count and no place in the history', async () => {
  const before = await kernel.run("'counted'");
  const silent = await kernel.run("display('x'); 'silent'", { silent: true });
  assert.deepEqual([typesOf(silent), silent.reply.execution_count], [[], before.reply.execution_count]);
  const { history } = await kernel.client.request('shell', 'history_request', {
    output: true,
    raw: true,
    hist_access_type: 'tail',
    n: 1,
  });
  assert.deepEqual(history, [[1, before.reply.execution_count, ["'counted'", "'counted'"]]]);
});

test('cells behind one that failed are not run, unless that says otherwise', async () => {
  const failing = kernel.run("await null; throw new Error('first')");
  const behind = kernel.run('1');
  assert.deepEqual([(await failing).reply.ename, (await behind).reply.ename], ['Error', 'Aborted']);
  const tolerant = kernel.run("await null; throw new Error('first')", { stopOnError: false });
  const next = kernel.run('1');
  assert.deepEqual([(await tolerant).reply.ename, (await next).result], ['Error', '1']);
});

test('an empty cell succeeds', async () => {
  assert.equal((await kernel.run('  \n')).reply.status, 'ok');
});

test('whether code is complete is told with the indentation of the next line', async () => {
  const asked = (code: string): Promise<unknown> =>
    kernel.client.request('shell', 'is_complete_request', { code });
  assert.deepEqual(await asked('if (a) {'), { status: 'incomplete', indent: '  ' });
  assert.deepEqual(await asked('a b'), { status: 'invalid' });
});

test('a request that makes no sense is answered with what is wrong', async () => {
  const reply = await kernel.client.request('shell', 'history_request', { hist_access_type: 'everything' });
  assert.equal(reply['status'], 'error');
  assert.match(String(reply['evalue']), /expected one of "tail"\|"range"\|"search"\s+→ at hist_access_type/);
});
