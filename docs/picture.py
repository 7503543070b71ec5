"""A picture of a report's page, by Chromium and ChromeDriver.

python docs/picture.py demo/report/report.html docs/page.png --case case-1-29-0
"""

import argparse
import shutil
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("page", type=Path)
parser.add_argument("picture", type=Path)
parser.add_argument("--case", default="", help="the case that it shows; the top of the page without")
args = parser.parse_args()

options = webdriver.ChromeOptions()
options.binary_location = shutil.which("chromium")
for flag in "headless=new no-sandbox disable-gpu hide-scrollbars window-size=1280,1000".split():
    options.add_argument(f"--{flag}")
driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
driver.get(f"{args.page.resolve().as_uri()}#{args.case}")
time.sleep(3)  # until it is drawn
driver.save_screenshot(args.picture)
driver.quit()
