import assert from 'node:assert/strict';
import { test } from 'node:test';
import { History, historyRequest } from './history.ts';

const history = new History();
history.add(1, 'const a = 1');
history.add(2, 'a + 1');
history.addOutput('2');
history.add(3, 'const b = a');
history.add(4, 'a + 1');

function find(request: object): unknown {
  return history.find(historyRequest.parse(request));
}

test('the tail is the last cells, oldest first, with their results when asked for', () => {
  assert.deepEqual(find({ hist_access_type: 'tail', n: 2 }), [
    [1, 3, 'const b = a'],
    [1, 4, 'a + 1'],
  ]);
  assert.deepEqual(find({ hist_access_type: 'tail', n: 3, output: true }), [
    [1, 2, ['a + 1', '2']],
    [1, 3, ['const b = a', null]],
    [1, 4, ['a + 1', null]],
  ]);
});

test('a range is of lines of this session, without its end', () => {
  assert.deepEqual(find({ hist_access_type: 'range', session: 0, start: 1, stop: 3 }), [
    [1, 1, 'const a = 1'],
    [1, 2, 'a + 1'],
  ]);
  assert.deepEqual(find({ hist_access_type: 'range', session: 7, start: 1, stop: 3 }), []);
});

test('a search takes * and ?, newest n, each code once when asked to', () => {
  assert.deepEqual(find({ hist_access_type: 'search', pattern: 'const ? = *', n: 1 }), [
    [1, 3, 'const b = a'],
  ]);
  assert.deepEqual(find({ hist_access_type: 'search', pattern: 'a +*', unique: true }), [[1, 4, 'a + 1']]);
  assert.deepEqual(find({ hist_access_type: 'search', pattern: '(' }), []);
});
