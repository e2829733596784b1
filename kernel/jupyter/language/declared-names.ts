/** Which names a cell declares at its top level, and which it uses. */
import ts from 'typescript';

/** What kind of thing a name stands for. */
export type NameKind =
  'const' | 'let' | 'function' | 'class' | 'enum' | 'module' | 'interface' | 'type' | 'alias';

/** A name that a cell declares. */
export interface DeclaredName {
  readonly kind: NameKind;
  /** Whether the cell exports it by itself. */
  readonly exported: boolean;
  /** Where the name stands. */
  readonly position: number;
}

/** The names of one cell. */
export interface CellNames {
  readonly declared: ReadonlyMap<string, DeclaredName>;
  /** Every identifier in the cell, whatever it refers to. */
  readonly used: ReadonlySet<string>;
}

/** Reads a cell; one that is being typed may be wrong. */
export function readNames(source: string): CellNames {
  const file = ts.createSourceFile('cell.ts', source, ts.ScriptTarget.ESNext);
  const declared = new Map<string, DeclaredName>();
  const used = new Set<string>();
  for (const statement of file.statements) {
    const modifiers = ts.canHaveModifiers(statement) ? (ts.getModifiers(statement) ?? []) : [];
    const exported = modifiers.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    for (const [name, kind] of namesOf(statement)) {
      // A class and an interface of one name are one thing; so are a function's overloads.
      if (!declared.has(name.text))
        declared.set(name.text, { kind, exported, position: name.getStart(file) });
    }
  }
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) used.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return { declared, used };
}

function namesOf(statement: ts.Statement): [ts.Identifier, NameKind][] {
  if (ts.isVariableStatement(statement)) return variablesOf(statement.declarationList);
  if (ts.isFunctionDeclaration(statement)) return named(statement.name, 'function');
  if (ts.isClassDeclaration(statement)) return named(statement.name, 'class');
  if (ts.isEnumDeclaration(statement)) return named(statement.name, 'enum');
  if (ts.isInterfaceDeclaration(statement)) return named(statement.name, 'interface');
  if (ts.isTypeAliasDeclaration(statement)) return named(statement.name, 'type');
  if (ts.isModuleDeclaration(statement))
    return ts.isIdentifier(statement.name) ? named(statement.name, 'module') : [];
  if (ts.isImportEqualsDeclaration(statement)) return named(statement.name, 'alias');
  if (ts.isImportDeclaration(statement)) return importsOf(statement.importClause);
  return nestedVariables(statement);
}

function named(name: ts.Identifier | undefined, kind: NameKind): [ts.Identifier, NameKind][] {
  // `declare global` has a name that is none.
  return name && name.text !== '' && name.text !== 'global' ? [[name, kind]] : [];
}

function importsOf(clause: ts.ImportClause | undefined): [ts.Identifier, NameKind][] {
  const bindings = clause?.namedBindings;
  const names = bindings
    ? ts.isNamespaceImport(bindings)
      ? [bindings.name]
      : bindings.elements.map(({ name }) => name)
    : [];
  return [...(clause?.name ? [clause.name] : []), ...names].flatMap((name) => named(name, 'alias'));
}

function variablesOf(list: ts.VariableDeclarationList): [ts.Identifier, NameKind][] {
  const kind = (list.flags & ts.NodeFlags.Const) === 0 ? 'let' : 'const';
  const inPattern = (name: ts.BindingName): ts.Identifier[] =>
    ts.isIdentifier(name)
      ? [name]
      : name.elements.flatMap((element) => (ts.isOmittedExpression(element) ? [] : inPattern(element.name)));
  return list.declarations.flatMap(({ name }) => inPattern(name)).flatMap((name) => named(name, kind));
}

/** A `var` in a block or a loop belongs to the cell. */
function nestedVariables(statement: ts.Statement): [ts.Identifier, NameKind][] {
  const found: [ts.Identifier, NameKind][] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) || ts.isClassLike(node)) return;
    if (ts.isVariableDeclarationList(node) && (node.flags & ts.NodeFlags.BlockScoped) === 0)
      found.push(...variablesOf(node));
    ts.forEachChild(node, visit);
  };
  visit(statement);
  return found;
}
