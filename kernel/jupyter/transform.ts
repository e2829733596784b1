/**
 * A cell's TypeScript as JavaScript for the inspector's REPL mode, in which `let` and `class` may be declared
 * again and `await` stands at the top level. Imports become `await __import(…)`, and what REPL mode cannot declare again
 * (`var`, `const`, functions, enums, namespaces) becomes `let`; functions stay hoisted.
 */
import ts from 'typescript';

/** A cell that can be run, with the source map of its lines. */
export interface TransformedCell {
  readonly code: string;
  /** Source map (version 3) from `code` to the cell. */
  readonly map: unknown;
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

const { factory } = ts;

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.ESNext,
  // Keeps imports that this cell does not use: the next one may.
  verbatimModuleSyntax: true,
  sourceMap: true,
  experimentalDecorators: false,
};

/** Transforms a cell. Throws CellSyntaxError. `index` makes helper names unique among cells. */
export function transformCell(source: string, index: number): TransformedCell {
  const fileName = `cell-${index}.ts`;
  const result = ts.transpileModule(source, {
    fileName,
    compilerOptions: options,
    reportDiagnostics: true,
    transformers: { after: [(context) => (file) => rewrite(file, context, index)] },
  });
  const [problem] = (result.diagnostics ?? []).filter(
    ({ category }) => category === ts.DiagnosticCategory.Error,
  );
  if (problem) {
    const place = problem.file?.getLineAndCharacterOfPosition(problem.start ?? 0) ?? {
      line: 0,
      character: 0,
    };
    const text = ts.flattenDiagnosticMessageText(problem.messageText, '\n');
    throw new CellSyntaxError(text, place.line + 1, place.character + 1);
  }
  const code = result.outputText.replace(/\/\/# sourceMappingURL=.*\s*$/, '');
  return { code, map: JSON.parse(result.sourceMapText ?? '{}') as unknown };
}

/** Whether a cell is one that Enter should run: `incomplete` when it ends inside something. */
export function completeness(source: string): 'complete' | 'incomplete' | 'invalid' {
  const { diagnostics = [] } = ts.transpileModule(source, {
    reportDiagnostics: true,
    compilerOptions: options,
  });
  if (diagnostics.length === 0) return 'complete';
  // "'}' expected" and unterminated literals at the very end want more text; anything before is a mistake.
  const atEnd = diagnostics.every(
    ({ start = 0, code }) => start >= source.trimEnd().length || [1002, 1160, 1010].includes(code),
  );
  return atEnd ? 'incomplete' : 'invalid';
}

function rewrite(file: ts.SourceFile, context: ts.TransformationContext, index: number): ts.SourceFile {
  const hoisted: ts.Statement[] = [];
  const declared = new Set<string>();
  const statements = file.statements.flatMap((statement) => topLevel(statement, index, hoisted, declared));
  const visit = (node: ts.Node): ts.Node => {
    const visited = ts.visitEachChild(node, visit, context);
    if (ts.isCallExpression(visited) && visited.expression.kind === ts.SyntaxKind.ImportKeyword) {
      return factory.updateCallExpression(
        visited,
        factory.createIdentifier('__import'),
        undefined,
        visited.arguments,
      );
    }
    return visited;
  };
  const all = [...hoisted, ...statements].map((statement) => ts.visitNode(statement, visit) as ts.Statement);
  return factory.updateSourceFile(file, all);
}

function topLevel(
  statement: ts.Statement,
  index: number,
  hoisted: ts.Statement[],
  declared: Set<string>,
): ts.Statement[] {
  // The emitter's own "use strict" would be the result of a cell without another.
  if (isUseStrict(statement)) return [];
  if (ts.isImportDeclaration(statement)) return importAsAwait(statement);
  if (ts.isExportDeclaration(statement)) return [];
  if (ts.isExportAssignment(statement)) return [factory.createExpressionStatement(statement.expression)];
  if (ts.isVariableStatement(statement)) return [variables(statement, declared)];
  if (ts.isFunctionDeclaration(statement) && statement.name) {
    const name = statement.name.text;
    const inner = factory.createUniqueName(`__${name}_${index}`, ts.GeneratedIdentifierFlags.Optimistic);
    declared.add(name);
    const named = call('__named', [inner, factory.createStringLiteral(name)]);
    hoisted.push(letStatement(factory.createIdentifier(name), named));
    return [
      factory.updateFunctionDeclaration(
        statement,
        unexported(statement.modifiers),
        statement.asteriskToken,
        inner,
        undefined,
        statement.parameters,
        undefined,
        statement.body,
      ),
    ];
  }
  if (ts.isClassDeclaration(statement)) {
    const { name, heritageClauses, members } = statement;
    return [
      factory.updateClassDeclaration(
        statement,
        unexported(statement.modifiers),
        name,
        undefined,
        heritageClauses,
        members,
      ),
    ];
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

/** `import a, { b as c } from 'm'` -> `const { default: a, b: c } = await __import('m')`. */
function importAsAwait({ importClause, moduleSpecifier }: ts.ImportDeclaration): ts.Statement[] {
  const imported = factory.createAwaitExpression(call('__import', [moduleSpecifier]));
  if (!importClause) return [factory.createExpressionStatement(imported)];
  const { name, namedBindings } = importClause;
  const elements: ts.BindingElement[] = [];
  if (name) elements.push(factory.createBindingElement(undefined, 'default', name));
  if (namedBindings && ts.isNamedImports(namedBindings)) {
    for (const { propertyName, name: local } of namedBindings.elements) {
      elements.push(factory.createBindingElement(undefined, propertyName?.text ?? local.text, local));
    }
  }
  const statements: ts.Statement[] = [];
  if (elements.length > 0 || !namedBindings) {
    statements.push(letStatement(factory.createObjectBindingPattern(elements), imported));
  }
  if (namedBindings && ts.isNamespaceImport(namedBindings))
    statements.push(letStatement(namedBindings.name, imported));
  return statements;
}

/**
 * `var` and `const` become `let`, since V8 lets only the same kind be declared again across evaluations; a `var` that
 * this cell declares a second time becomes an assignment.
 */
function variables(statement: ts.VariableStatement, declared: Set<string>): ts.Statement {
  const { declarationList } = statement;
  const isVar = (declarationList.flags & ts.NodeFlags.BlockScoped) === 0;
  const names = declarationList.declarations.map(({ name }) => (ts.isIdentifier(name) ? name.text : ''));
  const repeated = isVar && names.some((name) => declared.has(name));
  for (const name of names) declared.add(name);
  if (repeated) {
    const assignments = declarationList.declarations.flatMap(({ name, initializer }) =>
      initializer && ts.isIdentifier(name) ? [factory.createAssignment(name, initializer)] : [],
    );
    const first = assignments.reduce<ts.Expression | undefined>(
      (left, right) => (left ? factory.createComma(left, right) : right),
      undefined,
    );
    return first ? factory.createExpressionStatement(first) : factory.createEmptyStatement();
  }
  const kind: number = declarationList.flags & ts.NodeFlags.BlockScoped;
  const list =
    isVar || kind === (ts.NodeFlags.Const as number)
      ? factory.createVariableDeclarationList(declarationList.declarations, ts.NodeFlags.Let)
      : declarationList;
  return ts.setTextRange(factory.createVariableStatement(unexported(statement.modifiers), list), statement);
}

function unexported(modifiers: readonly ts.ModifierLike[] | undefined): ts.Modifier[] {
  return (modifiers ?? []).filter(
    (modifier): modifier is ts.Modifier =>
      ts.isModifier(modifier) &&
      modifier.kind !== ts.SyntaxKind.ExportKeyword &&
      modifier.kind !== ts.SyntaxKind.DefaultKeyword,
  );
}

function call(name: string, args: readonly ts.Expression[]): ts.CallExpression {
  return factory.createCallExpression(factory.createIdentifier(name), undefined, args);
}

function letStatement(name: ts.BindingName, value: ts.Expression): ts.Statement {
  const declaration = factory.createVariableDeclaration(name, undefined, undefined, value);
  return factory.createVariableStatement(
    undefined,
    factory.createVariableDeclarationList([declaration], ts.NodeFlags.Let),
  );
}
