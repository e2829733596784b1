import tseslint from 'typescript-eslint';

/** Forbids imports matching any of `regexes` in `files`; the message says which way the arrow may point. */
function layer(files, regexes, message) {
  return {
    files,
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: regexes.map((regex) => ({ regex, message })) }],
    },
  };
}

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', 'kernel/engine/native/**/target/**', '.cache/**'] },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-non-null-assertion': 'error',
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Use named exports.' },
        { selector: 'ExportAllDeclaration', message: 'No barrel files: import from where a thing lives.' },
      ],
    },
  },
  {
    // node:test returns promises that the runner itself awaits.
    files: ['**/*.test.ts'],
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['test', 'it', 'describe', 'suite'] },
          ],
        },
      ],
    },
  },
  layer(
    ['kernel/**/*.ts'],
    ['^vscode$', '/extension/', '/webview/'],
    'kernel/ runs outside VS Code: it imports neither vscode nor extension/ nor webview/.',
  ),
  layer(
    ['webview/**/*.ts'],
    ['^vscode$', '^node:', '/extension/', '/kernel/(?!protocol/)'],
    'webview/ talks to the outside only through kernel/protocol.',
  ),
  layer(
    ['extension/**/*.ts'],
    ['/webview/', '/kernel/(?!protocol/|jupyter/client|daemon/client|home)'],
    'extension/ uses kernel/protocol, the Jupyter client and the daemon client only; it never loads an engine.',
  ),
  layer(
    ['kernel/protocol/**/*.ts'],
    ['^\\.\\./', '^zeromq$', '^node:'],
    'kernel/protocol is shared with the browser: types and validation only.',
  ),
  layer(
    ['kernel/training/{model,activations,training-pass}.ts'],
    ['/parallel/', '/daemon/', '/protocol/'],
    'Model code knows nothing of parallel code, of processes or of their messages.',
  ),
);
