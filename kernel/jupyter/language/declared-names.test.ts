import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readNames } from './declared-names.ts';

function kinds(source: string): Record<string, string> {
  return Object.fromEntries([...readNames(source).declared].map(([name, { kind }]) => [name, kind]));
}

test('every kind of top-level declaration is found', () => {
  assert.deepEqual(kinds('const a = 1, { b, c: [d, ...e], ...f } = g; let h;'), {
    a: 'const',
    b: 'const',
    d: 'const',
    e: 'const',
    f: 'const',
    h: 'let',
  });
  assert.deepEqual(
    kinds(
      'function a() {} class B {} enum C {} namespace D {} interface E {} type F = 1; abstract class G {}',
    ),
    { a: 'function', B: 'class', C: 'enum', D: 'module', E: 'interface', F: 'type', G: 'class' },
  );
  assert.deepEqual(
    kinds(
      "import a, { b as c, type d } from 'm'; import * as e from 'm'; import f = require('m'); import 'm';",
    ),
    { a: 'alias', c: 'alias', d: 'alias', e: 'alias', f: 'alias' },
  );
});

test('var belongs to the cell also where it stands in a block, other declarations do not', () => {
  const code = 'for (var i = 0; ;) { var j; let k; } function f() { var l; } if (1) { var { m } = n; }';
  assert.deepEqual(Object.keys(kinds(code)), ['i', 'j', 'f', 'm']);
});

test('code that is being typed is read as far as it goes', () => {
  assert.deepEqual(kinds('const a = 1;\nconst b = a.\nfunction f('), {
    a: 'const',
    b: 'const',
    f: 'function',
  });
  assert.deepEqual(kinds('declare global { var x: number }\nconst = '), {});
});

test('exports and uses are told apart', () => {
  const { declared, used } = readNames('export const a = b.c(d);');
  assert.equal(declared.get('a')?.exported, true);
  assert.deepEqual([...used], ['a', 'b', 'c', 'd']);
});
