//go:build !linux

package main

var terminalCommands map[string]scriptCommand
