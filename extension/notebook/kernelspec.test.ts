import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NOTEBOOK_METADATA, isForUs } from './kernelspec.ts';

test('a notebook of ours is recognised, in the places where VS Code versions keep metadata', () => {
  assert.equal(isForUs({ metadata: NOTEBOOK_METADATA }), true);
  assert.equal(isForUs({ custom: { metadata: NOTEBOOK_METADATA } }), true);
});

test('TypeScript notebooks of other kernels are preferred, Python notebooks are not', () => {
  assert.equal(isForUs({ metadata: { kernelspec: { name: 'deno', language: 'typescript' } } }), true);
  assert.equal(isForUs({ metadata: { language_info: { name: 'TypeScript' } } }), true);
  assert.equal(isForUs({ metadata: { kernelspec: { name: 'python3', language: 'python' } } }), false);
});

test('a notebook without metadata is nobody’s', () => {
  assert.equal(isForUs({}), false);
  assert.equal(isForUs({ metadata: null }), false);
});
