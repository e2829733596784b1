/** `var` as `let`: declared at the top of the cell, where the statement was an assignment stays. */
import ts from 'typescript';

const { factory } = ts;

/** What hoisting makes of a cell's statements. */
export interface Hoisted {
  /** Names to declare before the first statement. */
  readonly variables: readonly string[];
  readonly rewritten: ts.Statement[];
}

/**
 * Replaces every `var` that belongs to the cell itself, also within blocks and loops, but not within functions. `taken`
 * are names that are declared already.
 */
export function hoistVariables(
  statements: readonly ts.Statement[],
  context: ts.TransformationContext,
  taken: ReadonlySet<string>,
): Hoisted {
  const names = new Set<string>();
  const visit = (node: ts.Node): ts.Node => {
    // These have variables of their own.
    if (ts.isFunctionLike(node) || ts.isClassLike(node)) return node;
    const visited = ts.visitEachChild(node, visit, context);
    if (ts.isVariableStatement(visited) && isVar(visited.declarationList)) {
      const value = assignments(visited.declarationList, names);
      const statement = value
        ? factory.createExpressionStatement(factory.createVoidExpression(value))
        : factory.createEmptyStatement();
      return ts.setTextRange(statement, visited);
    }
    if (ts.isVariableDeclarationList(visited) && isVar(visited)) return visited; // a statement's or a loop's
    if (ts.isForStatement(visited) && isVarList(visited.initializer)) {
      const { initializer, condition, incrementor, statement } = visited;
      const start = assignments(initializer, names);
      return factory.updateForStatement(visited, start, condition, incrementor, statement);
    }
    if ((ts.isForOfStatement(visited) || ts.isForInStatement(visited)) && isVarList(visited.initializer)) {
      const [declaration] = visited.initializer.declarations;
      if (!declaration) return visited;
      const target = assignmentTarget(declaration.name, names);
      return ts.isForOfStatement(visited)
        ? factory.updateForOfStatement(
            visited,
            visited.awaitModifier,
            target,
            visited.expression,
            visited.statement,
          )
        : factory.updateForInStatement(visited, target, visited.expression, visited.statement);
    }
    return visited;
  };
  const rewritten = statements.map((statement) => ts.visitNode(statement, visit) as ts.Statement);
  return { variables: [...names].filter((name) => !taken.has(name)), rewritten };
}

function isVar(list: ts.VariableDeclarationList): boolean {
  return (list.flags & ts.NodeFlags.BlockScoped) === 0;
}

function isVarList(initializer: ts.Node | undefined): initializer is ts.VariableDeclarationList {
  return initializer !== undefined && ts.isVariableDeclarationList(initializer) && isVar(initializer);
}

/** `var a = 1, b, { c } = d` -> `a = 1, { c } = d`; undefined when nothing has a value. */
function assignments(list: ts.VariableDeclarationList, names: Set<string>): ts.Expression | undefined {
  const all = list.declarations.flatMap((declaration) => {
    const target = assignmentTarget(declaration.name, names);
    const { initializer } = declaration;
    return initializer ? [ts.setTextRange(factory.createAssignment(target, initializer), declaration)] : [];
  });
  return all.length > 1 ? factory.createCommaListExpression(all) : all[0];
}

/** The name or pattern of a declaration as the left side of an assignment; its names are collected. */
function assignmentTarget(name: ts.BindingName, names: Set<string>): ts.Expression {
  if (ts.isIdentifier(name)) {
    names.add(name.text);
    return name;
  }
  const withDefault = (element: ts.BindingElement): ts.Expression => {
    const target = assignmentTarget(element.name, names);
    return element.initializer ? factory.createAssignment(target, element.initializer) : target;
  };
  if (ts.isArrayBindingPattern(name)) {
    const elements = name.elements.map((element) => {
      if (ts.isOmittedExpression(element)) return element;
      const value = withDefault(element);
      return element.dotDotDotToken ? factory.createSpreadElement(value) : value;
    });
    return factory.createArrayLiteralExpression(elements);
  }
  const properties = name.elements.map((element) => {
    if (element.dotDotDotToken) return factory.createSpreadAssignment(withDefault(element));
    const key = element.propertyName ?? (element.name as ts.Identifier);
    return factory.createPropertyAssignment(key, withDefault(element));
  });
  return factory.createObjectLiteralExpression(properties);
}
