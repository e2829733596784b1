/**
 * A cell's TypeScript as JavaScript for the inspector's REPL mode, in which `let` and `class` may be declared again by
 * a later cell and `await` stands at the top level. What REPL mode cannot declare again (`var`, `const`, functions, enums,
 * namespaces) becomes `let`, hoisted where JavaScript hoists it; imports become `await __import(…)`. Code is strict, as
 * in every module.
 */
import ts from 'typescript';
import { hoistVariables } from './hoist-variables.ts';
import { parsePlainJavaScript } from './plain-javascript.ts';

/** A cell that can be run. */
export interface TransformedCell {
  readonly code: string;
  /** Source map (version 3, JSON) from `code` to the cell; without one, `code` is the cell, one line further down. */
  readonly map?: string;
}

/** A cell that cannot be parsed. Line and column count from 1. */
export class CellSyntaxError extends SyntaxError {
  override readonly name = 'SyntaxError';
  readonly line: number;
  readonly column: number;

  constructor(message: string, line: number, column: number) {
    super(message);
    this.line = line;
    this.column = column;
  }
}

const { factory, SyntaxKind } = ts;

/** A directive is a value too: that of a cell without another. */
const PROLOGUE = "'use strict'; void 0;";
/** After whatever the cell ends with, a comment for instance. */
const NO_RESULT = '\n;void 0;';

const compilerOptions: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.ESNext,
  // Keeps imports that this cell does not use: the next one may.
  verbatimModuleSyntax: true,
  sourceMap: true,
  experimentalDecorators: false,
};

/** Transforms a cell. Throws CellSyntaxError. */
export function transformCell(source: string): TransformedCell {
  const plain = parsePlainJavaScript(source);
  if (plain) return { code: `${PROLOGUE}\n${source}${endsWithExpression(plain) ? '' : NO_RESULT}` };
  let showsResult = false;
  const result = ts.transpileModule(source, {
    fileName: 'cell.ts',
    compilerOptions,
    reportDiagnostics: true,
    transformers: {
      before: [
        () => (file) => {
          showsResult = endsWithExpression(file);
          return withRequires(file);
        },
      ],
      after: [(context) => (file) => rewrite(file, context, showsResult)],
    },
  });
  const problem = result.diagnostics?.find(({ category }) => category === ts.DiagnosticCategory.Error);
  if (problem) throw syntaxError(problem);
  const code = result.outputText.replace(/\/\/# sourceMappingURL=.*\s*$/, '');
  return { code, map: result.sourceMapText ?? '{}' };
}

function syntaxError({ file, start = 0, messageText }: ts.Diagnostic): CellSyntaxError {
  const { line, character } = file?.getLineAndCharacterOfPosition(start) ?? { line: 0, character: 0 };
  return new CellSyntaxError(ts.flattenDiagnosticMessageText(messageText, '\n'), line + 1, character + 1);
}

/** A cell shows a value when its last statement is one; a loop or an assignment before the end shows nothing. */
function endsWithExpression({ statements }: ts.SourceFile): boolean {
  const last = statements.findLast((statement) => !ts.isEmptyStatement(statement));
  return last !== undefined && (ts.isExpressionStatement(last) || ts.isExportAssignment(last));
}

/** `import a = require('m')` -> `const a = require('m')`, which a cell has; TypeScript drops it from ES modules. */
function withRequires(file: ts.SourceFile): ts.SourceFile {
  const statements = file.statements.map((statement) => {
    if (!ts.isImportEqualsDeclaration(statement) || statement.isTypeOnly) return statement;
    const { name, moduleReference } = statement;
    if (!ts.isExternalModuleReference(moduleReference)) return statement;
    const callee = factory.createIdentifier('require');
    return letStatement(name, factory.createCallExpression(callee, undefined, [moduleReference.expression]));
  });
  return factory.updateSourceFile(file, statements);
}

function rewrite(
  file: ts.SourceFile,
  context: ts.TransformationContext,
  showsResult: boolean,
): ts.SourceFile {
  const functions: ts.Statement[] = [];
  const names = new Set<string>();
  const statements = file.statements.flatMap((statement) => topLevel(statement, functions, names));
  const { variables, rewritten } = hoistVariables(statements, context, names);
  const nothing = factory.createExpressionStatement(factory.createVoidZero());
  const all = [
    factory.createExpressionStatement(factory.createStringLiteral('use strict')),
    // A directive is a value too: that of a cell without another.
    nothing,
    ...variables.map((name) => letStatement(factory.createIdentifier(name))),
    ...functions,
    ...rewritten,
    ...(showsResult ? [] : [nothing]),
  ];
  const visit = (node: ts.Node): ts.Node => replaceModuleSyntax(ts.visitEachChild(node, visit, context));
  return factory.updateSourceFile(
    file,
    all.map((statement) => ts.visitNode(statement, visit) as ts.Statement),
  );
}

/** Dynamic imports start from the notebook's folder, not from ours; a script has no `import.meta`. */
function replaceModuleSyntax(node: ts.Node): ts.Node {
  if (ts.isCallExpression(node) && node.expression.kind === SyntaxKind.ImportKeyword)
    return factory.updateCallExpression(
      node,
      factory.createIdentifier('__import'),
      undefined,
      node.arguments,
    );
  if (ts.isMetaProperty(node) && node.keywordToken === SyntaxKind.ImportKeyword)
    return factory.createIdentifier('__importMeta');
  return node;
}

/** A top-level statement as a script may have it; functions go to `functions`, the names of both to `names`. */
function topLevel(statement: ts.Statement, functions: ts.Statement[], names: Set<string>): ts.Statement[] {
  if (isUseStrict(statement)) return [];
  if (ts.isImportDeclaration(statement)) return importAsAwait(statement);
  if (ts.isExportDeclaration(statement)) {
    const { moduleSpecifier } = statement;
    return moduleSpecifier ? [factory.createExpressionStatement(awaitImport(moduleSpecifier))] : [];
  }
  if (ts.isExportAssignment(statement)) return [factory.createExpressionStatement(statement.expression)];
  if (ts.isVariableStatement(statement)) return [variableStatement(statement)];
  if (ts.isFunctionDeclaration(statement)) {
    const { asteriskToken, name, parameters, body } = statement;
    if (!body) return [];
    const value = ts.setTextRange(
      factory.createFunctionExpression(
        withoutExport(statement.modifiers),
        asteriskToken,
        undefined, // `let` gives it its name, and later cells may give that another value
        undefined,
        parameters,
        undefined,
        body,
      ),
      statement,
    );
    if (!name) return [];
    names.add(name.text);
    functions.push(letStatement(name, value));
    return [];
  }
  if (ts.isClassDeclaration(statement)) {
    const { name, heritageClauses, members } = statement;
    if (!name) return [];
    const modifiers = withoutExport(statement.modifiers);
    return [factory.updateClassDeclaration(statement, modifiers, name, undefined, heritageClauses, members)];
  }
  return [statement];
}

function isUseStrict(statement: ts.Statement): boolean {
  return (
    ts.isExpressionStatement(statement) &&
    ts.isStringLiteral(statement.expression) &&
    statement.expression.text === 'use strict'
  );
}

/** `import a, { b as c } from 'm'` -> `let { default: a, b: c } = await __import('m')`. */
function importAsAwait({ importClause, moduleSpecifier }: ts.ImportDeclaration): ts.Statement[] {
  const imported = awaitImport(moduleSpecifier);
  if (!importClause) return [factory.createExpressionStatement(imported)];
  const { name, namedBindings } = importClause;
  const elements: ts.BindingElement[] = [];
  if (name) elements.push(factory.createBindingElement(undefined, 'default', name));
  if (namedBindings && ts.isNamedImports(namedBindings)) {
    for (const { propertyName, name: local } of namedBindings.elements)
      elements.push(factory.createBindingElement(undefined, propertyName ?? local.text, local));
  }
  const statements: ts.Statement[] = [];
  if (elements.length > 0 || !namedBindings || ts.isNamedImports(namedBindings))
    statements.push(letStatement(factory.createObjectBindingPattern(elements), imported));
  if (namedBindings && ts.isNamespaceImport(namedBindings))
    statements.push(letStatement(namedBindings.name, imported));
  return statements;
}

function awaitImport(specifier: ts.Expression): ts.Expression {
  const callee = factory.createIdentifier('__import');
  return factory.createAwaitExpression(factory.createCallExpression(callee, undefined, [specifier]));
}

/** `const` becomes `let`: V8 lets only the same kind be declared again. `var` is hoisted later. */
function variableStatement(statement: ts.VariableStatement): ts.Statement {
  const { declarationList } = statement;
  const kind: number = declarationList.flags & ts.NodeFlags.BlockScoped;
  const list =
    kind === (ts.NodeFlags.Const as number)
      ? factory.createVariableDeclarationList(declarationList.declarations, ts.NodeFlags.Let)
      : declarationList;
  return factory.updateVariableStatement(statement, withoutExport(statement.modifiers), list);
}

function withoutExport(modifiers: readonly ts.ModifierLike[] | undefined): ts.Modifier[] {
  return (modifiers ?? []).filter(
    (modifier): modifier is ts.Modifier =>
      ts.isModifier(modifier) &&
      modifier.kind !== SyntaxKind.ExportKeyword &&
      modifier.kind !== SyntaxKind.DefaultKeyword,
  );
}

function letStatement(name: ts.BindingName, value?: ts.Expression): ts.Statement {
  const declaration = factory.createVariableDeclaration(name, undefined, undefined, value);
  return factory.createVariableStatement(
    undefined,
    factory.createVariableDeclarationList([declaration], ts.NodeFlags.Let),
  );
}
