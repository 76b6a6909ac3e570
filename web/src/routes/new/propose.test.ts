import { expect, test } from "vitest";
import { declarationOf, nameOf, namesOf, variablesOf } from "./propose";

test("an image suggests a name that a workload can have", () => {
  expect(["nginx", "ghcr.io/wiki/Wiki.js:2", "localhost:5000/a__b@sha256:0f", "x/-.-", ""].map(nameOf)).toEqual([
    "nginx",
    "wiki-js",
    "a-b",
    "",
    "",
  ]);
});

test("only what was said is in the proposal", () => {
  const wish = { image: " wiki:2 ", name: "", port: "", hostPort: "", data: "" };
  expect(declarationOf(wish)).toEqual({ name: "wiki", source: { type: "image", image: "wiki:2" } });
  expect(declarationOf({ ...wish, name: "notes", port: "3000", hostPort: "8080", data: "/data" })).toEqual({
    name: "notes",
    source: { type: "image", image: "wiki:2" },
    ports: ["8080:3000"],
    volumes: [{ target: "/data", scope: "stage", source: "data" }],
    health: { type: "tcp", port: 3000 },
  });
});

test("variables are read as an .env file has them", () => {
  expect(variablesOf("# A=1\nexport B = two words \nC='x#y'\nD=\n1E=no\n")).toEqual({
    B: "two words",
    C: "x#y",
    D: "",
  });
});

test("names may be separated by commas, spaces and lines", () => {
  expect(namesOf(" wiki,db\ncache  wiki ")).toEqual(["wiki", "db", "cache"]);
});
