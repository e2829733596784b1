/**
 * A plugin of TypeScript's own server. VS Code gives it every notebook cell as a file by itself, in which the names of
 * other cells and the module 'gpt-lab' do not exist: each use would be underlined as an error, and completions would
 * come twice. For notebooks that use our kernel, which knows all cells, errors of meaning, completions, hovers and parameter
 * hints are therefore left to the kernel; syntax errors stay. Plain CommonJS, since the server loads it as it lies there.
 */
'use strict';

/** How VS Code names a cell to the server: this, an authority, the notebook's path, `#` and the cell. */
const CELL_PREFIX = '^/vscode-notebook-cell/';

/** Paths of notebooks that use our kernel, as the extension last told. */
let notebooks = [];
/** Projects whose diagnostics depend on `notebooks`. */
const projects = new Set();

/** @param {string} fileName */
function isOurs(fileName) {
  return fileName.startsWith(CELL_PREFIX) && notebooks.some((notebook) => fileName.includes(`${notebook}#`));
}

function create(info) {
  projects.add(info.project);
  const service = info.languageService;
  const left = {
    getSemanticDiagnostics: [],
    getSuggestionDiagnostics: [],
    getCompletionsAtPosition: undefined,
    getCompletionEntryDetails: undefined,
    getQuickInfoAtPosition: undefined,
    getSignatureHelpItems: undefined,
  };
  const proxy = Object.create(null);
  for (const name of Object.keys(service)) {
    const method = service[name];
    proxy[name] =
      name in left
        ? (fileName, ...rest) => (isOurs(fileName) ? left[name] : method.call(service, fileName, ...rest))
        : (...all) => method.apply(service, all);
  }
  return proxy;
}

function onConfigurationChanged(configuration) {
  notebooks = Array.isArray(configuration?.notebooks) ? configuration.notebooks : [];
  for (const project of projects) {
    if (project.isClosed?.()) projects.delete(project);
    else project.refreshDiagnostics?.();
  }
}

module.exports = () => ({ create, onConfigurationChanged });
