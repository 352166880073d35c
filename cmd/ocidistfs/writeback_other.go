//go:build !linux

package main

import "os"

func startWriteBack(*os.File, int64, int64) {}
