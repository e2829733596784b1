import assert from 'node:assert/strict';
import { test } from 'node:test';
import { completeness } from './completeness.ts';

const cases = {
  complete: ['', '1 + 1', 'const a = await f();', 'type X = { a: number }', '`a\nb`', '// a comment'],
  incomplete: [
    'function f() {',
    'f(1,',
    'const a =',
    'x.',
    'if (a)',
    '`a template',
    '/* a comment',
    'import { a',
    '[1,\n2,',
    'a ? b :',
    'const f = (a: number) =>',
  ],
  invalid: ['const = 3', 'a b', '}', 'f(]', "'a string", 'const a = "a string'],
};

for (const [status, samples] of Object.entries(cases)) {
  test(`code that is ${status} is told so`, () => {
    for (const sample of samples) assert.equal(completeness(sample).status, status, sample);
  });
}

test('the next line begins where the last one did, two columns further after a bracket', () => {
  const indentOf = (code: string): unknown => (completeness(code) as { indent?: string }).indent;
  assert.equal(indentOf('function f() {'), '  ');
  assert.equal(indentOf('{\n  f('), '    ');
  assert.equal(indentOf('{\n  a +'), '  ');
});
