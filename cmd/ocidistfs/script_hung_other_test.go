//go:build !linux

package main

var hungCommands map[string]scriptCommand
